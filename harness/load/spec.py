"""What a load is: checked when it is made, so that nothing is started for a load that makes no sense."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path

from harness.errors import ConfigError
from harness.load.arrivals import ARRIVALS, Arrivals, most_requests

DRAIN_S = 5.0
PROCESSES_A_CORE = 4
MOST_USERS = 1 << 30
LEAST_RPS, MOST_RPS = 0.1, 20_000.0
_SLACK_S = 60.0


@dataclass(frozen=True)
class LoadSpec:
    """What to send where: `rps` requests a second of POST `path` to the gateway at `url`, for at most `max_s` seconds.

    `host` is the service's host name; `payload` a file with one body a line, sent in turn; a request that is due while
    `connections` are in flight is not sent, and is counted as such. `arrivals`: evenly spaced, or a Poisson process of
    this `seed`. `processes` share the requests and the connections evenly. `users` are named in x-user-id, 0: nobody.
    """

    name: str
    url: str
    host: str
    path: str
    payload: Path
    rps: float = 100.0
    max_s: float = 600.0
    connections: int = 256
    timeout_s: float = 10.0
    arrivals: Arrivals = "constant"
    seed: int = 0
    processes: int = 1
    users: int = 0

    def __post_init__(self) -> None:
        for name, least, most in (("rps", LEAST_RPS, MOST_RPS), ("max_s", 1, 86_400), ("timeout_s", 0.01, 600)):
            value = getattr(self, name)
            if not (_is_number(value, int | float) and math.isfinite(value) and least <= value <= most):
                raise ConfigError(f"load.{name}: expected a number from {least:g} to {most:g}, got {value!r}")
        most_processes = PROCESSES_A_CORE * (os.cpu_count() or 1)
        for name, least, most in (
            ("connections", 1, 10_000), ("processes", 1, most_processes), ("users", 0, MOST_USERS),
        ):  # fmt: skip
            value = getattr(self, name)
            if not (_is_number(value, int) and least <= value <= most):
                raise ConfigError(f"load.{name}: expected a whole number from {least} to {most}, got {value!r}")
        if self.arrivals not in ARRIVALS:
            raise ConfigError(f"load.arrivals: expected {' or '.join(ARRIVALS)}, got {self.arrivals!r}")
        if not self.path.startswith("/"):
            raise ConfigError(f"load.path: expected a path that starts with '/', got {self.path!r}")
        if not self.payload.is_file() or not self.payload.stat().st_size:
            raise ConfigError(f"load.payload: {self.payload} is missing or empty; it holds one request body a line")

    @property
    def most(self) -> int:
        """More requests than this load will ever make."""
        return most_requests(self.rps, self.max_s + _SLACK_S, self.processes)

    def traffic(self, load_id: str) -> dict[str, object]:
        """What a process of the generator is told, but for its share."""
        return {
            "load_id": load_id,
            "host": self.host,
            "path": self.path,
            "payload": str(self.payload.absolute()),
            "rps": self.rps,
            "max_in_flight": max(1, self.connections // self.processes),
            "timeout_s": self.timeout_s,
            "drain_s": DRAIN_S,
            "arrivals": self.arrivals,
            "seed": self.seed,
            "users": self.users,
            "shares": self.processes,
        }


def _is_number(value: object, kind: object) -> bool:
    """Whether it is one of that kind; Python counts True as an int, a load does not."""
    return isinstance(value, kind) and not isinstance(value, bool)  # type: ignore[arg-type]
