"""The load's own locustfile, whose records are kept for a thousand requests and left out for the next, in turn.

What they cost is the difference; two processes one after the other would differ by what else the machine does.
Writes {"kept": CPU seconds a request, "left_out": the same} to BENCH_RESULT.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from harness.load import open_loop
from harness.load.locustfile import Load
from harness.load.records import Recorder, write_json

TURN = 1000


class Alternating(Recorder):
    """Counts requests and CPU time of each turn."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._kept = True
        self._requests = {True: 0, False: 0}
        self._cpu_s = {True: 0.0, False: 0.0}
        self._since = time.process_time()

    def write(self, *args: Any) -> None:
        if self._kept:
            super().write(*args)
        self._requests[self._kept] += 1
        if self._requests[self._kept] % TURN == 0:
            now = time.process_time()
            self._cpu_s[self._kept] += now - self._since
            self._kept, self._since = not self._kept, now

    def close(self) -> None:
        super().close()
        # Requests of a turn that did not end have no CPU time yet.
        a_request = {kept: self._cpu_s[kept] / (whole // TURN * TURN) for kept, whole in self._requests.items()}
        write_json(Path(os.environ["BENCH_RESULT"]), {"kept": a_request[True], "left_out": a_request[False]})


open_loop.Recorder = Alternating  # type: ignore[assignment, attr-defined]
__all__ = ["Load"]
