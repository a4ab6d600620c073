"""Children of a run: what the supervisor asks of one, and the one launcher of those that are processes.

Each process leads a process group of its own, so that a Ctrl-C in the terminal reaches only the supervisor, and so that
what a child starts can be stopped with it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from harness.errors import PlatformError
from harness.runtime.identity import Identity

TAIL_BYTES = 16_384


class Child(Protocol):
    """What a run started and is to end: a process, or what a world has in place of one."""

    name: str
    pid: int
    log: Path
    stopping: bool

    @property
    def cause(self) -> str:
        """Why it ended, as far as its exit code does not say; "" if nothing more is known."""
        ...

    @property
    def identity(self) -> Identity | None:
        """Who may be killed when nobody is left who holds this handle; None if it is ended in another way."""
        ...

    def fileno(self) -> int:
        """A descriptor that becomes readable when it ends; -1 if it had ended before it could be watched."""
        ...

    def poll(self) -> int | None:
        """The exit code if it has ended (negative: the signal that ended it), else None."""
        ...

    def wait(self, timeout_s: float | None) -> int | None:
        """Wait for the end, at most `timeout_s` seconds (None: for ever); the exit code, or None if it still runs."""
        ...

    def stop(self, grace_s: float = 5.0) -> int | None:
        """SIGTERM, then SIGKILL after `grace_s` seconds; returns the exit code."""
        ...

    def kill(self, signum: int = signal.SIGKILL) -> None:
        """Send it a signal, as a rehearsed failure does."""
        ...

    def tail(self, lines: int = 20) -> str:
        """The last lines of its log."""
        ...


class Process:
    """A running child process with a log file; `reap` collects its exit code once it has ended.

    `ours` says that this process reaps the child itself (a zombie then holds the pid until `reap`); a child that was
    forked by a nursery is reaped there.
    """

    cause = ""

    def __init__(self, name: str, pid: int, log: Path, reap: Callable[[], int], *, ours: bool = True) -> None:
        self.name = name
        self.pid = pid
        self.log = log
        self.identity = Identity.of(pid)
        self.stopping = False
        self._reap = reap
        self._ours = ours
        self._code: int | None = None
        self._lock = threading.Lock()
        self._pidfd = _pidfd(pid)

    def fileno(self) -> int:
        """A descriptor that becomes readable when the process ends; -1 if it had ended before it could be watched."""
        return self._pidfd

    def poll(self) -> int | None:
        """The exit code if the process has ended (negative: the signal that ended it), else None."""
        return self.wait(0)

    def wait(self, timeout_s: float | None) -> int | None:
        """Wait for the end, at most `timeout_s` seconds (None: for ever); the exit code, or None if it still runs."""
        if self._code is None and self._ended(timeout_s):
            with self._lock:
                if self._code is None:
                    if self._ours:  # the zombie holds the pid, so this can only hit what the child left behind
                        self._signal_group(signal.SIGKILL)
                    self._code = self._reap()
        return self._code

    def stop(self, grace_s: float = 5.0) -> int | None:
        """SIGTERM to the group, then SIGKILL after `grace_s` seconds; returns the exit code."""
        self.stopping = True
        if self.poll() is None:
            self._signal_group(signal.SIGTERM)
            if self.wait(grace_s) is None:
                self._signal_group(signal.SIGKILL)
                self.wait(5.0)
        return self._code

    def kill(self, signum: int = signal.SIGKILL) -> None:
        """Send a signal to the process alone, as a rehearsed failure does."""
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signum)

    def tail(self, lines: int = 20) -> str:
        """The last lines of the child's log."""
        return tail(self.log, lines)

    def _ended(self, timeout_s: float | None) -> bool:
        if self._pidfd < 0:
            return True
        poller = select.poll()
        poller.register(self._pidfd, select.POLLIN)
        return bool(poller.poll(None if timeout_s is None else timeout_s * 1000))

    def _signal_group(self, signum: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signum)

    def __del__(self) -> None:
        if getattr(self, "_pidfd", -1) >= 0:
            os.close(self._pidfd)


def launch(
    name: str,
    argv: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stdin: int = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
) -> Process:
    """Start `argv` in a process group of its own with its output in `log`; `env` is the whole environment."""
    with open_log(name, log) as output:
        try:
            popen = subprocess.Popen(
                list(argv),
                stdin=stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(env),
                cwd=cwd,
                start_new_session=True,
                pass_fds=tuple(pass_fds),
            )
        except OSError as error:
            raise PlatformError(f"{name}: cannot start {argv[0]}: {error.strerror}.") from error
    return Process(name, popen.pid, log, popen.wait)


def open_log(name: str, log: Path) -> BinaryIO:
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        return log.open("ab")
    except OSError as error:
        raise PlatformError(f"{name}: cannot write {log}: {error.strerror}.") from error


def ending(code: int | None, cause: str = "") -> str:
    """How a process ended, in words: "ended with exit code 1", "was killed by signal 9", with the cause if known."""
    how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
    return f"{how}: {cause}" if cause else how


def tail(log: Path, lines: int = 20) -> str:
    """The last `lines` lines of a log file, or a word on why there are none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return f"({log.name}: no log)"
    return "\n".join(text.splitlines()[-lines:])


def _pidfd(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return -1
