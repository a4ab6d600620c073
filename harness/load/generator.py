"""A load that runs beside a scenario: Locust in processes of its own, stopped and accounted for at the end."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from harness.errors import LoadFailed, WaitTimeout
from harness.lifecycle.slo import SLO
from harness.load import audit
from harness.load.access_log import AccessLogTail
from harness.load.account import account, missing_lines, since
from harness.load.ledger import Ledger
from harness.load.records import LoadFiles, read_json, write_json
from harness.load.spec import DRAIN_S, LoadSpec
from harness.runtime.clock import Deadline
from harness.runtime.process import Child, ending
from harness.runtime.wait import wait

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
LOG_LAG_S = 5.0  # the gateway buffers its access log; after this a missing line is missing
GO_IN_S = 0.1


class Spawner(Protocol):
    """The supervisor, as far as a load needs it."""

    def spawn(self, name: str, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> Child: ...

    def stop(self, child: Child, grace_s: float = 5.0) -> int | None: ...


def _never() -> Sequence[float]:
    return ()


class Load:
    """A running load; `start` returns when traffic flows, `stop` returns the ledger.

    `slo`: what to judge the clients' latencies by. `deaths` tells when the gateway died, in Unix seconds.
    """

    def __init__(
        self,
        spec: LoadSpec,
        folder: Path,
        spawner: Spawner,
        access_log: Path,
        *,
        ledger: Path | None = None,
        slo: SLO | None = None,
        deaths: Callable[[], Sequence[float]] = _never,
    ) -> None:
        self.spec = spec
        self.files = LoadFiles(folder)
        self.load_id = os.urandom(4).hex()  # short: Envoy rewrites ids that have the length of a UUID
        self._path = ledger or folder / "ledger.parquet"
        self._access_log = access_log
        self._slo = slo
        self._deaths = deaths
        self._ledger: Ledger | None = None
        self._spawner = spawner
        self._log: AccessLogTail | None = None
        self._children: list[Child] = []

    def start(self, deadline: Deadline) -> None:
        """Start Locust and wait until a request has ended; if none has by the deadline, nothing is left running."""
        self.files.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.files.spec, self.spec.traffic(self.load_id))
        self._log = AccessLogTail(self._access_log, self.load_id, self.files, self.spec.most)
        try:
            for share in range(self.spec.processes):
                env = {"REHEARSAL_LOAD": f"{self.files.spec}:{share}", "PYTHONPATH": _with_this_package()}
                self._children.append(self._spawner.spawn(self._name(share), self._argv(), env=env))
            if self.spec.processes > 1:
                self._go_together(deadline)
            for share, child in enumerate(self._children):
                what = f"load {self.spec.name}: first answer from {self.spec.url}"
                wait(self.files.started(share).exists, what=what, deadline=deadline, child=child)
        except BaseException:
            self._stop_children()
            self._log.close()
            raise
        self._log.follow()

    def stop(self, deadline: Deadline) -> Ledger:
        """End the load, account for every request, and write ledger.parquet; raises LoadFailed if Locust had failed."""
        if self._log is None:
            raise LoadFailed(f"load {self.spec.name}: stopped before it was started")
        codes = self._stop_children()
        try:
            for share, code in enumerate(codes):
                if code != 0 or not self.files.finished(share).exists():
                    raise LoadFailed(f"load {self.spec.name}: {self._ending(share, code)}")
            self._log.rest()
            self._await_log(self._log, deadline)
            self._ledger = account(self.spec, self.files, self._log, self._path, self._deaths(), self._slo)
        except OSError as error:
            raise LoadFailed(
                f"load {self.spec.name}: its ledger cannot be written: {error.strerror or error}"
            ) from error
        finally:
            self._log.close()
        return self._ledger

    @property
    def ledger(self) -> Ledger:
        """Where every request went; there once the load has ended."""
        if self._ledger is None:
            raise LoadFailed(f"load {self.spec.name}: its ledger is there once it has ended")
        return self._ledger

    def withheld(self, bound_ms: float) -> str:
        """Why nothing can be said now about latencies near `bound_ms`; empty if the generator gives no reason."""
        files = [self.files.audit(share) for share in range(self.spec.processes)]
        return audit.withheld(audit.read(files), bound_ms, time.monotonic())

    def _name(self, share: int) -> str:
        return f"load-{self.spec.name}" + (f"-{share + 1}" if self.spec.processes > 1 else "")

    def _go_together(self, deadline: Deadline) -> None:
        """Several processes have one origin; with it their requests are evenly spaced, and times can be compared."""
        for share, child in enumerate(self._children):
            wait(self.files.ready(share).exists, what=f"{child.name} ready", deadline=deadline, child=child)
        write_json(self.files.go, {"origin": time.monotonic() + GO_IN_S, "started_at": time.time() + GO_IN_S})

    def _stop_children(self) -> list[int | None]:
        with ThreadPoolExecutor(max(1, len(self._children))) as pool:
            return list(pool.map(lambda child: self._spawner.stop(child, grace_s=DRAIN_S + 5.0), self._children))

    def _ending(self, share: int, code: int | None) -> str:
        told = self.files.failed(share)
        cause = f"; its schedule was ended by {read_json(told)['error']}" if told.exists() else ""
        return f"Locust {ending(code)}{cause}.\n{self._children[share].tail()}"

    def _argv(self) -> list[str]:
        return [
            *(sys.executable, "-P", "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--only-summary"),
            *("--users", "1", "--spawn-rate", "1", "--host", self.spec.url),
            *("--run-time", f"{math.ceil(self.spec.max_s)}s", "--stop-timeout", f"{DRAIN_S + 2:g}"),
            *("--exit-code-on-error", "0"),
        ]

    def _await_log(self, log: AccessLogTail, deadline: Deadline) -> None:
        finished = [read_json(self.files.finished(share)) for share in range(self.spec.processes)]
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


def _with_this_package() -> str:
    """A PYTHONPATH on which Locust finds this very `harness`, installed or not."""
    here = str(Path(__file__).parents[2])
    return os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
