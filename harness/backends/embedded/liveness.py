"""Whether a replica still answers: a liveness probe, and a look at its processor time to tell hanging from busy."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Self

import httpx
import psutil

from harness.backends.embedded.planner import Address
from harness.clients.http import client

PROBE = "/v2/health/live"
TIMEOUT_S = 3.0
FAILURES = 3
BUSY = 0.1
"""A process that used this share of a core since the last probe, or waited for one, works: it is blocked, not dead."""
_NS = 1e9


class Watch:
    """Probes one replica; `silent_since` is when the first of the unanswered probes was sent (Unix seconds)."""

    def __init__(self, pid: int, address: Address) -> None:
        self._pid = pid
        self._http = client("http://{}:{}".format(*address), timeout_s=TIMEOUT_S)
        self._failures = 0
        self._used = self._processor_s()
        self._looked = time.monotonic()
        self.silent_since = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def hangs(self) -> bool:
        """Probe once; whether so many probes in a row had no answer, from a process that did nothing else either."""
        sent = time.time()
        answered = self._answers()
        if self._works() or answered:  # looked at each time, or the work of hours would count as that of one probe
            self._failures = 0
            return False
        if not self._failures:
            self.silent_since = sent
        self._failures += 1
        return self._failures >= FAILURES

    def _answers(self) -> bool:
        try:
            return self._http.get(PROBE).status_code == 200
        except httpx.TransportError:
            return False

    def _works(self) -> bool:
        """Whether the process has used its share of a core since the last look, or waited for it, or is gone."""
        before, began = self._used, self._looked
        self._used, self._looked = self._processor_s(), time.monotonic()
        return self._used - before >= BUSY * (self._looked - began)

    def _processor_s(self) -> float:
        try:
            used = psutil.Process(self._pid).cpu_times()
        except psutil.NoSuchProcess:
            return float("inf")
        return float(used.user + used.system) + waited_s(self._pid)


def waited_s(pid: int) -> float:
    """Seconds that a process's threads were ready to run and had no processor; 0 where the kernel does not say.

    On a crowded machine, and in a container among many processes, that is what keeps it silent; one that stands still
    waits for none.
    """
    waited = 0.0
    for told in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(OSError):  # the thread has just ended
            waited += int(told.read_text(encoding="ascii").split()[1]) / _NS
    return waited
