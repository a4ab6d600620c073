"""A load that runs beside a scenario: Locust in a process of its own, stopped and accounted for at the end."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from harness.errors import ConfigError, LoadFailed, WaitTimeout
from harness.load import latency
from harness.load.access_log import AccessLogTail
from harness.load.ledger import Ledger, Sent, columns, join
from harness.load.records import NEVER_SENT, RECORD, Failure, LoadFiles, write_json
from harness.runtime.clock import Deadline
from harness.runtime.process import Child, ending
from harness.runtime.wait import wait

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
LOG_LAG_S = 5.0  # the gateway buffers its access log; after this a missing line is missing
DRAIN_S = 5.0


class Spawner(Protocol):
    """The supervisor, as far as a load needs it."""

    def spawn(self, name: str, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> Child: ...

    def stop(self, child: Child, grace_s: float = 5.0) -> int | None: ...


@dataclass(frozen=True)
class LoadSpec:
    """What to send where: `rps` requests a second of POST `path` to the gateway at `url`, for at most `max_s` seconds.

    `host` is the service's host name; `payload` a file with one body a line, sent in turn; a request that is due while
    `connections` are in flight is not sent, and is counted as such.
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

    def __post_init__(self) -> None:
        for name, least, most in (("rps", 0.1, 20_000), ("max_s", 1, 86_400), ("timeout_s", 0.01, 600)):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and math.isfinite(value) and least <= value <= most):
                raise ConfigError(f"load.{name}: expected a number from {least:g} to {most:g}, got {value!r}")
        if not 1 <= self.connections <= 10_000:
            raise ConfigError(f"load.connections: expected a number from 1 to 10000, got {self.connections!r}")
        if not self.path.startswith("/"):
            raise ConfigError(f"load.path: expected a path that starts with '/', got {self.path!r}")
        if not self.payload.is_file() or not self.payload.stat().st_size:
            raise ConfigError(f"load.payload: {self.payload} is missing or empty; it holds one request body a line")


class Load:
    """A running load; `start` returns when traffic flows, `stop` returns the ledger."""

    def __init__(
        self, spec: LoadSpec, folder: Path, spawner: Spawner, access_log: Path, *, ledger: Path | None = None
    ) -> None:
        self.spec = spec
        self._path = ledger or folder / "ledger.parquet"
        self.files = LoadFiles(folder)
        self.load_id = os.urandom(4).hex()  # short: Envoy rewrites ids that have the length of a UUID
        self._ledger: Ledger | None = None
        self._spawner = spawner
        self._log = AccessLogTail(access_log, self.load_id)
        self._child: Child | None = None

    def start(self, deadline: Deadline) -> None:
        """Start Locust and wait until a request has ended; if none has by the deadline, nothing is left running."""
        self.files.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.files.spec, self._traffic())
        env = {"REHEARSAL_LOAD": str(self.files.spec), "PYTHONPATH": _with_this_package()}
        self._child = self._spawner.spawn(f"load-{self.spec.name}", self._argv(), env=env)
        what = f"load {self.spec.name}: first answer from {self.spec.url}"
        try:
            wait(self.files.started.exists, what=what, deadline=deadline, child=self._child)
        except BaseException:
            self._spawner.stop(self._child)
            raise

    def stop(self, deadline: Deadline) -> Ledger:
        """End the load, account for every request, and write ledger.parquet; raises LoadFailed if Locust had failed."""
        if self._child is None:
            raise LoadFailed(f"load {self.spec.name}: stopped before it was started")
        code = self._spawner.stop(self._child, grace_s=DRAIN_S + 5.0)
        if code != 0 or not self.files.finished.exists():
            ended = f"Locust {ending(code)}{self._cause()}"
            raise LoadFailed(f"load {self.spec.name}: {ended}.\n{self._child.tail()}")
        sent = read_records(self.files)
        self._await_log(sent, deadline)
        self._ledger = self._account(sent)
        return self._ledger

    @property
    def ledger(self) -> Ledger:
        """Where every request went; there once the load has ended."""
        if self._ledger is None:
            raise LoadFailed(f"load {self.spec.name}: its ledger is there once it has ended")
        return self._ledger

    def _cause(self) -> str:
        if not self.files.failed.exists():
            return ""
        told = json.loads(self.files.failed.read_text(encoding="utf-8"))
        return f"; its schedule was ended by {told['error']}"

    def _argv(self) -> list[str]:
        return [
            *(sys.executable, "-P", "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--only-summary"),
            *("--users", "1", "--spawn-rate", "1", "--host", self.spec.url),
            *("--run-time", f"{math.ceil(self.spec.max_s)}s", "--stop-timeout", f"{DRAIN_S + 2:g}"),
            *("--exit-code-on-error", "0"),
        ]

    def _traffic(self) -> dict[str, Any]:
        spec = self.spec
        return {
            "load_id": self.load_id,
            "host": spec.host,
            "path": spec.path,
            "payload": str(spec.payload.absolute()),
            "rps": spec.rps,
            "max_in_flight": spec.connections,
            "timeout_s": spec.timeout_s,
            "drain_s": DRAIN_S,
        }

    def _await_log(self, sent: Sequence[Sent], deadline: Deadline) -> None:
        expected = {request.sequence for request in sent if request.error not in NEVER_SENT}

        def complete() -> bool:
            self._log.read()
            return expected <= self._log.entries.keys()

        try:
            wait(complete, what="access log", deadline=deadline.at_most(LOG_LAG_S), every_s=0.02)
        except WaitTimeout:
            return  # the ledger names what is missing

    def _account(self, sent: Sequence[Sent]) -> Ledger:
        finished = json.loads(self.files.finished.read_text(encoding="utf-8"))
        started = json.loads(self.files.started.read_text(encoding="utf-8"))
        joined = join(sent, finished["requests"], self._log.entries)
        _write_parquet(self._path, columns(sent, joined.classes, self._log.entries))
        p50, p99 = latency.schedule_delay_ms(sent)
        return Ledger(
            name=self.spec.name,
            sent=len(sent),
            classes=joined.counts(),
            unexplained=joined.unexplained,
            examples=joined.examples,
            latency=latency.summaries(sent),
            series=latency.series(sent),
            started_at=started["started_at"],
            duration_s=finished["duration_s"],
            achieved_rps=latency.achieved_rps(sent),
            schedule_delay_p50_ms=p50,
            schedule_delay_p99_ms=p99,
            path=self._path,
        )


def read_records(files: LoadFiles) -> list[Sent]:
    """The generator's records by sequence; a record that was cut off by a crash is left out."""
    raw = files.records.read_bytes()
    names = ["", *files.revisions.read_text(encoding="utf-8").splitlines()]
    failures = list(Failure)
    return sorted(
        Sent(number, status, names[revision], failures[error], intended, sent, taken)
        for number, status, revision, error, intended, sent, taken in RECORD.iter_unpack(
            memoryview(raw)[: len(raw) - len(raw) % RECORD.size]
        )
    )


def _write_parquet(path: Path, data: Mapping[str, Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    half = path.with_suffix(".part")
    pq.write_table(pa.table(dict(data)), half)
    half.rename(path)


def _with_this_package() -> str:
    """A PYTHONPATH on which Locust finds this very `harness`, installed or not."""
    here = str(Path(__file__).parents[2])
    return os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
