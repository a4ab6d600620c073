"""Who a process is: its pid and its start time together, because the kernel gives pids out again."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

_STATE, _START_TIME = 0, 19  # fields of /proc/<pid>/stat, counted after the command's closing parenthesis


@dataclass(frozen=True)
class Identity:
    """One process; `start` is its start time in clock ticks since boot (proc(5), field 22)."""

    pid: int
    start: int

    @classmethod
    def of(cls, pid: int) -> Identity:
        """The process that has this pid now; `start` is 0 if there is none."""
        fields = _stat(pid)
        return cls(pid, int(fields[_START_TIME]) if fields else 0)

    def alive(self) -> bool:
        """Whether this very process still runs; a zombie does not."""
        fields = _stat(self.pid)
        return bool(fields) and int(fields[_START_TIME]) == self.start and fields[_STATE] not in "ZX"

    def kill_group(self, signum: int = signal.SIGKILL) -> bool:
        """Signal the process group that this process leads, if it is still this process; says whether it did."""
        if not self.alive():
            return False
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getpgid(self.pid) == self.pid:
                os.killpg(self.pid, signum)
            else:
                os.kill(self.pid, signum)
            return True
        return False


def _stat(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()
