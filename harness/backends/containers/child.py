"""A container as a supervisor's child: its log lies in the run folder, its end is told by Docker, without polling."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from docker.errors import APIError, DockerException, NotFound
from requests.exceptions import RequestException

from harness.containers.refusals import in_a_line
from harness.errors import PlatformError
from harness.runtime.process import open_log, tail

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

KILLED = -signal.SIGKILL
GRACE_S = 2.0
KILL_S = 10.0
LOG_S = 5.0
_BY_SIGNAL = 128


class ContainerChild:
    """A started container; one thread of its own streams its log and then waits for its end.

    It is no process of this machine's supervisor, so nobody may kill its pid when this one is gone: it is found by its
    labels. `limit_mib` is the memory that it may use, to name when that was what ended it.
    """

    identity = None

    def __init__(self, name: str, started: DockerContainer, log: Path, *, limit_mib: int) -> None:
        self.name, self.log = name, log
        self.stopping = False
        self.cause = ""
        self._started = started
        self._container = started.get_wrapped_container()
        self._container.reload()
        self.pid = int(self._container.attrs["State"]["Pid"])
        self._limit_mib = limit_mib
        self._code: int | None = None
        self._ended = threading.Event()
        self._fd, self._told = os.pipe()
        self._removing = threading.Lock()
        self._thread = threading.Thread(target=self._follow, name=f"container-{name}", daemon=True)
        self._thread.start()

    @property
    def id(self) -> str:
        """Docker's id of it."""
        return str(self._container.id)

    def address(self, network: str) -> str:
        """Its address in a network; "" while it is cut off from that."""
        with in_a_line(self.name):
            self._container.reload()
        found = self._container.attrs["NetworkSettings"]["Networks"].get(network) or {}
        return str(found.get("IPAddress", ""))

    def fileno(self) -> int:
        return self._fd

    def poll(self) -> int | None:
        return self.wait(0)

    def wait(self, timeout_s: float | None) -> int | None:
        return self._code if self._ended.wait(timeout_s) else None

    def stop(self, grace_s: float = GRACE_S) -> int | None:
        """As Child.stop; what is left of the container is removed. PlatformError for what the engine refuses."""
        self.stopping = True
        try:
            self._end(grace_s)
        finally:
            self._remove()
        return self._code

    def kill(self, signum: int = signal.SIGKILL) -> None:
        """Signal its first process; SIGSTOP pauses the whole container, and SIGCONT lets it go on."""
        with in_a_line(self.name), contextlib.suppress(APIError):  # it has ended, or does not stand still
            if signum == signal.SIGSTOP:
                self._container.pause()
            elif signum == signal.SIGCONT:
                self._container.unpause()
            else:
                self._signal(signum)

    def tail(self, lines: int = 20) -> str:
        return tail(self.log, lines)

    def execute(self, argv: list[str]) -> tuple[int, str]:
        """Run a program inside of it: exit code, output. Errors: PlatformError, also if it has ended."""
        with in_a_line(self.name):
            done = self._container.exec_run(argv)
        return int(done.exit_code), done.output.decode(errors="replace")

    def _end(self, grace_s: float) -> None:
        self.kill(signal.SIGCONT)
        if self.poll() is None:
            self.kill(signal.SIGTERM)
            if self.wait(grace_s) is None:
                self.kill(signal.SIGKILL)
                self.wait(KILL_S)

    def _signal(self, signum: int) -> None:
        self._container.reload()
        paused = self._container.attrs["State"]["Paused"]
        if paused and signum == signal.SIGKILL:  # Docker kills nothing that stands still
            self._container.unpause()
        self._container.kill(signal.Signals(signum).name)

    def _follow(self) -> None:
        """Write the log until there is no more, which is when the container has ended; then learn how."""
        gone = contextlib.suppress(DockerException, RequestException, OSError, PlatformError)
        with gone, open_log(self.name, self.log) as log:
            for piece in self._container.logs(stream=True, follow=True):
                with contextlib.suppress(OSError):  # a full disk: the end is noticed all the same
                    log.write(piece)
                    log.flush()
        self._code = self._how_it_ended()
        self._ended.set()
        os.close(self._told)

    def _how_it_ended(self) -> int:
        try:
            code = int(self._container.wait(timeout=None)["StatusCode"])
            self._container.reload()
        except (NotFound, RequestException, APIError):  # removed by somebody else, or the engine itself has ended
            return KILLED
        if self._container.attrs["State"]["OOMKilled"]:
            self.cause = f"out of memory, its limit is {self._limit_mib} MiB"
        return _BY_SIGNAL - code if _BY_SIGNAL < code < _BY_SIGNAL + signal.NSIG else code

    def _remove(self) -> None:
        with self._removing:
            self._thread.join(LOG_S)
            with in_a_line(self.name):
                self._started.stop()

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            os.close(self._fd)
