"""Who a process is: its pid and its start time together, because the kernel gives pids out again."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

_STATE, _SESSION, _START_TIME = 0, 3, 19  # fields of /proc/<pid>/stat, counted after the command's closing parenthesis


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

    def kill_session(self) -> None:
        """Kill what is left of the session that this process led and has left behind.

        The kernel gives no pid out again while a session has it; so the members are ours unless a process that has
        the pid now is not the one that we knew.
        """
        leader = _stat(self.pid)
        if leader and int(leader[_START_TIME]) != self.start:
            return
        for pid in _members(self.pid):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _members(session: int) -> list[int]:
    """The processes of a session."""
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
    return [pid for pid in pids if (fields := _stat(pid)) and int(fields[_SESSION]) == session]


def _stat(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()
