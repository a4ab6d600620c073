"""A load that runs beside a scenario: its crew sends, the gateway's log is read, and both are joined at the end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.errors import LoadFailed, WaitTimeout
from harness.lifecycle.slo import SLO
from harness.load import audit
from harness.load.access_log import AccessLogTail
from harness.load.account import account, missing_lines, since
from harness.load.crew import LOCUSTFILE, Crew, Processes, Spawner
from harness.load.ledger import Ledger
from harness.load.records import RECORD, LoadFiles, read_json, write_json
from harness.load.spec import LoadSpec
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait

__all__ = ["LOCUSTFILE", "Load", "MakeCrew", "Spawner"]

WAIT_S = 30.0
LOG_LAG_S = 5.0  # the gateway buffers its access log; after this a missing line is missing

MakeCrew = Callable[[LoadSpec, LoadFiles], Crew]


def _never() -> Sequence[float]:
    return ()


class Load:
    """A running load; `start` returns when traffic flows, `stop` returns the ledger.

    `access_log`: the gateway's; without one the ledger is the client's word. `slo`: what the clients' failures and
    latencies are judged by. `deaths` tells when the gateway died, in Unix seconds. `crew`: who
    sends, by default processes of this machine that `spawner` starts.
    """

    def __init__(
        self,
        spec: LoadSpec,
        folder: Path,
        spawner: Spawner,
        access_log: Path | None,
        *,
        ledger: Path | None = None,
        slo: SLO | None = None,
        deaths: Callable[[], Sequence[float]] = _never,
        crew: MakeCrew | None = None,
    ) -> None:
        self.spec = spec
        self.files = LoadFiles(folder)
        self.load_id = os.urandom(4).hex()  # short: Envoy rewrites ids that have the length of a UUID
        self._path = ledger or folder / "ledger.parquet"
        self._access_log = access_log
        self.slo = slo
        self._deaths = deaths
        self._ledger: Ledger | None = None
        self._crew = crew(spec, self.files) if crew else Processes(spec, self.files, spawner)
        self._log: AccessLogTail | None = None

    def start(self, deadline: Deadline) -> None:
        """Start the crew and wait until a request has ended; if none has by the deadline, nothing is left running."""
        self.files.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.files.spec, self.spec.traffic(self.load_id))
        self._log = AccessLogTail(self._access_log, self.load_id, self.files, self.spec.most)
        try:
            self._crew.start(deadline)
        except BaseException:
            self._log.close()
            raise
        self._log.follow()

    def wait(self, deadline: Deadline | None = None) -> None:
        """Wait until the shape has ended, of all that send it; LoadFailed for one that has no end.

        By default as long as the load may last, and the answers that are under way.
        """
        if self.spec.shape.duration_s is None:
            raise LoadFailed(f"load {self.spec.name}: a {self.spec.shape.kind} load ends with its block, not before")
        deadline = deadline or Deadline.after(self.spec.max_s + WAIT_S)
        what = f"load {self.spec.name}: the end of its shape"
        wait(self._crew.ended, what=what, deadline=deadline, every_s=0.1)

    def stop(self, deadline: Deadline) -> Ledger:
        """End the load, account for every request, and write ledger.parquet; raises LoadFailed if Locust had failed."""
        if self._log is None:
            raise LoadFailed(f"load {self.spec.name}: stopped before it was started")
        try:
            self._crew.stop(deadline)
            self._log.rest()
            self._await_log(self._log, deadline)
            self._ledger = account(self.spec, self.files, self._log, self._path, self._deaths(), self.slo)
        except OSError as error:
            raise LoadFailed(
                f"load {self.spec.name}: its ledger cannot be written: {error.strerror or error}"
            ) from error
        finally:
            self._log.close()
        return self._ledger

    def recorded(self) -> int:
        """How many requests are on record so far, in the order in which they were due; nearly all have ended."""
        sizes = [self._size(share) for share in range(self.spec.shares)]
        return min(sizes) // RECORD.size * self.spec.shares

    def _size(self, share: int) -> int:
        try:
            return self.files.records(share).stat().st_size
        except FileNotFoundError:  # of a generator that has not begun, or that is no process of this machine
            return 0

    @property
    def ledger(self) -> Ledger:
        """Where every request went; there once the load has ended."""
        if self._ledger is None:
            raise LoadFailed(f"load {self.spec.name}: its ledger is there once it has ended")
        return self._ledger

    def withheld(self, bound_ms: float) -> str:
        """Why nothing can be said now about latencies near `bound_ms`; empty if the generator gives no reason."""
        return audit.withheld(self._crew.readings(), bound_ms, time.monotonic())

    def _await_log(self, log: AccessLogTail, deadline: Deadline) -> None:
        if not log.at_hand:
            return
        finished = [read_json(self.files.finished(share)) for share in range(self.spec.shares)]
        started_at = float(read_json(self.files.go)["started_at"])
        left = sum(each["left"] for each in finished)
        scheduled = [each["requests"] for each in finished]

        def complete() -> bool:
            log.read()
            deaths_us = since(started_at, self._deaths())
            enough = log.taken >= left or bool(deaths_us)
            return enough and not missing_lines(self.files, log, scheduled, deaths_us)

        try:
            wait(complete, what="access log", deadline=deadline.at_most(LOG_LAG_S), every_s=0.02)
        except WaitTimeout:
            return  # the ledger names what is missing
