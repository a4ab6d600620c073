"""What a world without a cluster has in place of nodes: what there is for replicas, and how its autoscaler looks."""

from __future__ import annotations

import os
from dataclasses import dataclass

import psutil

from harness.backends.quantities import is_quantity, quantity
from harness.backends.scaling import GPU
from harness.errors import ConfigError


@dataclass(frozen=True)
class NodeOptions:
    """The one node. `cpus` (cores) and `memory` (a quantity): None is what the machine has; `gpus` are only counted.

    Its autoscaler looks every `sync_s` seconds at means over `window_s`, and gives a replica up once nothing has asked
    for it for `down_s`. Upstream's are 15, about 15, and 300; a rehearsal should not take so long.
    """

    gpus: int = 0
    cpus: float | None = None
    memory: str | None = None
    sync_s: float = 1.0
    window_s: float = 3.0
    down_s: float = 10.0

    def __post_init__(self) -> None:
        if self.gpus < 0:
            raise ConfigError(f"node: gpus: expected at least 0, got {self.gpus}")
        for name in ("cpus", "sync_s", "window_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"node: {name}: expected a number above 0, got {value!r}")
        if not self.down_s >= 0:
            raise ConfigError(f"node: down_s: expected at least 0, got {self.down_s!r}")
        if self.memory is not None and not is_quantity(self.memory):
            raise ConfigError(f"node: memory: expected a quantity such as 8Gi, got {self.memory!r}")

    def capacity(self) -> dict[str, float]:
        """Resource -> how much there is: cores, bytes, devices."""
        memory = float(psutil.virtual_memory().total) if self.memory is None else quantity(self.memory)
        return {"cpu": float(self.cpus or os.cpu_count() or 1), "memory": memory, GPU: float(self.gpus)}
