"""What a load is: checked when it is made, so that nothing is started for a load that makes no sense."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import ConfigError
from harness.load.arrivals import ARRIVALS, Arrivals, most_requests
from harness.load.shapes import MOST_S, Shape
from harness.load.trace import Replay

DRAIN_S = 5.0
KEY_VARIABLE = "REHEARSAL_LOAD_KEY"
"""Of a generator's environment: "<header>: <API key>", which is in no file and no argument."""
PROCESSES_A_CORE = 4
MOST_USERS = 1 << 30
MOST_WORKERS = 1000
_SLACK_S = 60.0
START_S = 10.0  # Locust counts its run time from before the processes are ready
_LIMITS: dict[str, tuple[float, float]] = {  # whole numbers where the limits are
    "max_s": (1.0, MOST_S + _SLACK_S),
    "timeout_s": (0.01, 600.0),
    "connections": (1, 10_000),
    "processes": (1, PROCESSES_A_CORE * (os.cpu_count() or 1)),
    "users": (0, MOST_USERS),
    "workers": (0, MOST_WORKERS),
}


@dataclass(frozen=True)
class LoadSpec:
    """What to send where: POST `path` to the gateway at `url`, for at most `max_s` seconds.

    `shape`: at what rate. A shape that ends does so within `max_s`.

    `host` is the service's host name; `payload` a file with one body a line, sent in turn; a request that is due while
    `connections` are in flight is not sent, and is counted as such. `arrivals`: evenly spaced, or a Poisson process of
    this `seed`. `processes` share the requests and the connections evenly; so do `workers`, Pods of a cluster, if they
    are not 0. `users` are named in x-user-id, 0: nobody. `key` is the header, and its value, that the gateway asks for.
    """

    name: str
    url: str
    host: str
    path: str
    payload: Path
    shape: Shape
    max_s: float = 600.0
    connections: int = 256
    timeout_s: float = 10.0
    arrivals: Arrivals = "constant"
    seed: int = 0
    processes: int = 1
    users: int = 0
    workers: int = 0
    key: tuple[str, str] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        check(
            max_s=self.max_s,
            timeout_s=self.timeout_s,
            connections=self.connections,
            processes=self.processes,
            users=self.users,
            workers=self.workers,
            arrivals=self.arrivals,
        )
        if self.workers and self.processes > 1:
            raise ConfigError(f"load.workers: expected processes or workers, not {self.processes} and {self.workers}")
        if not self.path.startswith("/"):
            raise ConfigError(f"load.path: expected a path that starts with '/', got {self.path!r}")
        if not self.payload.is_file() or not self.payload.stat().st_size:
            raise ConfigError(f"load.payload: {self.payload} is missing or empty; it holds one request body a line")
        check_shape(self.shape, self.arrivals, self.max_s)
        if isinstance(self.shape, Replay):
            self.shape.check_bodies(sum(1 for line in self.payload.read_bytes().splitlines() if line.strip()))

    @property
    def shares(self) -> int:
        """How many generators share the requests."""
        return self.workers or self.processes

    @property
    def most(self) -> int:
        """More requests than this load will ever make."""
        return most_requests(self.shape.requests(self.max_s + _SLACK_S), self.shares)

    @property
    def run_time_s(self) -> int:
        """When Locust ends the load; of a shape, which ends by itself, a while later, so that all of it is sent."""
        return math.ceil(self.max_s if self.shape.duration_s is None else self.max_s + START_S)

    @property
    def first_s(self) -> float:
        """When the first request is due, from the load's origin."""
        return next(self.shape.times(iter([0.0])), 0.0)

    def traffic(self, load_id: str) -> dict[str, object]:
        """What a process of the generator is told, but for its share."""
        return {
            "load_id": load_id,
            "host": self.host,
            "path": self.path,
            "payload": str(self.payload.absolute()),
            "shape": {"kind": self.shape.kind, **self.shape.parameters()},
            "max_in_flight": max(1, self.connections // self.shares),
            "timeout_s": self.timeout_s,
            "drain_s": DRAIN_S,
            "arrivals": self.arrivals,
            "seed": self.seed,
            "users": self.users,
            "shares": self.shares,
        }


def check(*, arrivals: str = "constant", **numbers: float) -> None:
    """Raises ConfigError for a field of LoadSpec that makes no sense; for what is known before the payload is there."""
    if arrivals not in ARRIVALS:
        raise ConfigError(f"load.arrivals: expected {' or '.join(ARRIVALS)}, got {arrivals!r}")
    for name, value in numbers.items():
        least, most = _LIMITS[name]
        whole = isinstance(least, int)
        if not (_is_number(value, int if whole else int | float) and least <= value <= most):
            allowed = f"a whole number from {least} to {most}" if whole else f"a number from {least:g} to {most:g}"
            raise ConfigError(f"load.{name}: expected {allowed}, got {value!r}")


def check_shape(shape: Shape, arrivals: str, max_s: float) -> None:
    """Raises ConfigError for a shape that the rest of the load does not fit."""
    if shape.duration_s is not None and shape.duration_s > max_s:
        raise ConfigError(
            f"load.shape: {shape.kind} lasts {shape.duration_s:g} s, but the load may last {max_s:g} s",
            hint="shorten the shape, or raise max_s (rehearse load --deadline).",
        )
    if isinstance(shape, Replay) and arrivals != "constant":
        raise ConfigError(f"load.arrivals: a replay has the arrivals of its trace, not {arrivals} ones")


def _is_number(value: object, kind: object) -> bool:
    """Whether it is one of that kind; Python counts True as an int, a load does not."""
    return isinstance(value, kind) and not isinstance(value, bool)  # type: ignore[arg-type]
