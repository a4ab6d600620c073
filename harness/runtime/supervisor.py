"""The supervisor: every child of a run belongs to it, and none outlives it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.errors import PlatformError
from harness.runtime import state
from harness.runtime._watcher import Watcher
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog
from harness.runtime.nursery import Nursery
from harness.runtime.owner import Owner
from harness.runtime.process import Child, ending, launch, open_log

START_S = 60.0
SETTLE_S = 0.05  # a killed process is a zombie a moment after its connections have closed
NO_PROXY = "127.0.0.1,localhost"


@dataclass(frozen=True)
class Death:
    """A child that ended without having been asked to; `at` in Unix seconds, `code` negative for a signal."""

    name: str
    code: int
    at: float
    log: Path
    tail: str
    nursery: bool = False
    cause: str = ""

    @property
    def words(self) -> str:
        return f"{self.name} {ending(self.code, self.cause)}"


class Supervisor:
    """Starts children, notices their deaths, keeps the state file, and stops all of them at the end.

    A context manager. Logs go to folder/logs/<child>.log. If this process dies by -9 its warden kills the children;
    if that dies too, `gc` does at the next start. `sweep`: see state.RunState.
    """

    def __init__(self, folder: Path, events: EventLog, *, run_id: str | None = None, sweep: Sequence[str] = ()) -> None:
        self.folder = folder
        self.events = events
        self._children: list[Child] = []
        self._nurseries: list[Nursery] = []
        self._lock = threading.RLock()
        self._sockets = tempfile.TemporaryDirectory(prefix=state.SCRATCH, ignore_cleanup_errors=True)
        run = run_id or folder.name
        self._state = state.RunState(run, str(folder), Owner.me(), scratch=self._sockets.name, sweep=tuple(sweep))
        self._state_path = state.state_path(f"{self._state.run_id}-{os.urandom(3).hex()}")
        self._watcher = Watcher(self._died)
        self._callbacks: dict[Child, Callable[[int], None]] = {}
        self._dead: set[Child] = set()
        self._closed = False
        self._warden: subprocess.Popen[bytes] | None = None
        self.deaths: list[Death] = []

    def __enter__(self) -> Self:
        for killed in state.gc():
            self.events.emit("process.collected", killed, "killed: its run had died", level="warning")
        self._save()
        self._warden = _start_warden(self._state_path, self.log_path("warden"))
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def spawn(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        task: bool = False,
    ) -> Child:
        """Start a program; `env` is laid over this process's environment. A `task` is expected to end by itself."""
        with self._lock:
            child = launch(name, argv, log=self.log_path(name), env={**base_env(), **(env or {})}, cwd=cwd)
            return self._adopt(child, task)

    def nursery(self, name: str, preload: Sequence[str], *, env: Mapping[str, str] | None = None) -> Nursery:
        """Start a fork server that imports `preload`; it is ready when its first fork answers."""
        # What its forks write into TMPDIR goes with this run, even if nobody is left to clean up.
        environment = {**base_env(), "TMPDIR": self._sockets.name, **(env or {})}
        with self._lock:
            if self._closed:
                raise PlatformError(f"{name}: the run has ended")
            nursery = Nursery(name, preload, log=self.log_path(name), env=environment, folder=Path(self._sockets.name))
            self._nurseries.append(nursery)
            self._adopt(nursery.child)
        return nursery

    def fork(
        self,
        name: str,
        target: str,
        *args: Any,
        nursery: Nursery,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        deadline: Deadline | None = None,
        task: bool = False,
    ) -> Child:
        """Fork a child from a nursery that runs `target` ("module:function") with JSON-able arguments."""
        deadline = deadline or Deadline.after(START_S)
        child = nursery.fork(name, target, args, log=self.log_path(name), env=env or {}, cwd=cwd, deadline=deadline)
        with self._lock:
            return self._adopt(child, task)

    def adopt(self, child: Child) -> Child:
        """Take a child that a world started by itself; if the run has ended, it is stopped and PlatformError raised."""
        with self._lock:
            return self._adopt(child)

    def stop(self, child: Child, grace_s: float = 5.0) -> int | None:
        """Stop one child: SIGTERM, then SIGKILL after `grace_s` seconds; returns its exit code."""
        code = child.stop(grace_s)
        with self._lock:
            self._children = [other for other in self._children if other is not child]
            self._watcher.forget(child)
            self._callbacks.pop(child, None)
            self._dead.discard(child)
            self._save()
        return code

    def on_death(self, child: Child, callback: Callable[[int], None]) -> None:
        """Call `callback(exit code)` from the watcher's thread when the child ends, or has ended, by itself."""
        with self._lock:
            self._callbacks[child] = callback
        self._watcher.watch(child)

    def set_address(self, name: str, url: str) -> None:
        """Publish an address in the state file, for `rehearse status`."""
        with self._lock:
            self._state = replace(self._state, addresses={**self._state.addresses, name: url})
            self._save()

    @property
    def closed(self) -> bool:
        """Whether everything is being stopped, or was; nothing can be started any more."""
        return self._closed

    def children(self) -> list[Child]:
        with self._lock:
            return list(self._children)

    def log_path(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    def close(self) -> None:
        """Stop every child, forked ones before their nursery, and remove the state file; safe to call twice.

        PlatformError, after all else, for a child that cannot be stopped.
        """
        self._watcher.stop()
        with self._lock:
            self._closed = True
            children, self._children = self._children[::-1], []
        nurseries = {nursery.child for nursery in self._nurseries}
        with contextlib.ExitStack() as ending:  # each goes on after an error of the one before
            ending.callback(self._sockets.cleanup)
            ending.callback(self._forget)
            ending.callback(_stop, [child for child in children if child in nurseries])
            _stop([child for child in children if child not in nurseries])

    def _forget(self) -> None:
        self._state_path.unlink(missing_ok=True)
        if self._warden is not None:
            _end_warden(self._warden)
            self._warden = None

    def _adopt(self, child: Child, task: bool = False) -> Child:
        if self._closed:
            child.stop()
            raise PlatformError(f"{child.name}: the run has ended")
        self._children.append(child)
        self._save()
        if not task:
            self._watcher.watch(child)
        return child

    def _save(self) -> None:
        if self._closed:  # the state file is gone, and must not come back
            return
        children = tuple(state.ChildState(child.name, child.identity) for child in self._children if child.identity)
        self._state = replace(self._state, children=children)
        with contextlib.suppress(OSError):  # a full disk must not stop a rehearsal; the nursery and warden still act
            state.write(self._state_path, self._state)

    def settle(self) -> None:
        """Note the death of a nursery that the watcher has not told yet: its forks' ends may be noticed first."""
        for nursery in list(self._nurseries):
            code = nursery.child.wait(SETTLE_S)
            if code is not None and not nursery.child.stopping:
                self._note_death(nursery.child, code)

    def _died(self, child: Child, code: int) -> None:
        with self._lock:
            callback = self._callbacks.pop(child, None)
        self._note_death(child, code)
        if callback is not None:
            callback(code)

    def _note_death(self, child: Child, code: int) -> None:
        with self._lock:
            if child in self._dead:
                return
            self._dead.add(child)
        nursery = child in {nursery.child for nursery in self._nurseries}
        death = Death(child.name, code, time.time(), child.log, child.tail(5), nursery, child.cause)
        self.deaths.append(death)
        self.events.emit("process.died", child.name, death.words, level="warning", code=code, pid=child.pid)


def base_env() -> dict[str, str]:
    """The environment of every child: this process's, without what would slow imports or divert loopback traffic."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    paths = [str(Path(__file__).parents[2]), env.get("PYTHONPATH", "")]
    env["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    env["NO_PROXY"] = env["no_proxy"] = ",".join(filter(None, [env.get("NO_PROXY", ""), NO_PROXY]))
    return env


def _stop(children: Sequence[Child]) -> None:
    """Side by side; an error of one is raised when all others have been stopped."""
    if children:
        with ThreadPoolExecutor(len(children)) as pool:  # its map would call off, after an error, what has not begun
            stopping = [pool.submit(child.stop) for child in children]
        for each in stopping:
            each.result()


def _start_warden(path: Path, log: Path) -> subprocess.Popen[bytes]:
    with open_log("warden", log) as output:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "harness.runtime.warden", str(path)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=base_env(),
            start_new_session=True,
        )


def _end_warden(warden: subprocess.Popen[bytes]) -> None:
    if warden.stdin is not None:
        warden.stdin.close()
    warden.wait(timeout=10)
