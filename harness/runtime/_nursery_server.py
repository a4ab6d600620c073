"""The nursery's own process: `python -P -m harness.runtime._nursery_server LISTENER_FD MODULE…`.

Single-threaded on purpose: a fork copies only the forking thread, so a lock held by another would stay locked for ever
in the child. What is imported here must start no thread; a warning names the count if something did.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import random
import runpy
import selectors
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

PR_SET_PDEATHSIG = 1
_LENGTH = struct.Struct("!I")
_libc = ctypes.CDLL(None, use_errno=True)


class Server:
    """Accepts fork requests, forks, tells exits, kills the children of clients that went away."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.pid = os.getpid()
        self.clients: dict[int, socket.socket] = {}
        self.selector = selectors.DefaultSelector()
        self.wake_read, self.wake_write = os.pipe()

    def run(self) -> None:
        os.set_blocking(self.wake_write, False)
        os.set_blocking(self.wake_read, False)
        signal.set_wakeup_fd(self.wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _ignore)
        signal.signal(signal.SIGTERM, self._end)
        self.selector.register(self.listener, selectors.EVENT_READ, self._accept)
        self.selector.register(self.wake_read, selectors.EVENT_READ, self._reap)
        while True:
            for key, _ in self.selector.select():
                key.data()

    def _accept(self) -> None:
        connection, _ = self.listener.accept()
        connection.settimeout(10)
        try:
            request, fds = _receive(connection)
        except (OSError, ValueError, EOFError):
            connection.close()
            return
        try:
            pid = os.fork()
        except OSError as error:  # no process or no memory left: that costs this child, and not those that run
            self._refuse(connection, fds, f"{request['name']}: cannot fork: {error.strerror}")
            return
        if pid == 0:
            self._become_child(request, fds, connection)
        _close(fds)
        self.clients[pid] = connection
        self.selector.register(connection, selectors.EVENT_READ, lambda: self._client_gone(pid))
        _tell(connection, {"pid": pid})

    def _refuse(self, connection: socket.socket, fds: list[int], reason: str) -> None:
        print(reason, file=sys.stderr, flush=True)
        _close(fds)
        _tell(connection, {"error": reason})
        connection.close()

    def _become_child(self, request: dict[str, Any], fds: list[int], own: socket.socket) -> NoReturn:
        os.setsid()
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != self.pid:  # the nursery died before the line above: nobody would tell this child
            os._exit(1)
        signal.set_wakeup_fd(-1)
        for signum in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, signal.SIG_DFL)
        self.selector.close()
        self.listener.close()
        for connection in (own, *self.clients.values()):
            connection.close()
        os.close(self.wake_read)
        os.close(self.wake_write)
        _run(request, fds)

    def _reap(self) -> None:
        os.read(self.wake_read, 4096)
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            _kill_group(found.si_pid)  # before the zombie is reaped, so that the pid cannot be somebody else's
            _, status = os.waitpid(found.si_pid, 0)
            self._tell_exit(found.si_pid, os.waitstatus_to_exitcode(status))

    def _tell_exit(self, pid: int, code: int) -> None:
        if connection := self.clients.pop(pid, None):
            self.selector.unregister(connection)
            _tell(connection, {"exit": code})
            connection.close()

    def _client_gone(self, pid: int) -> None:
        connection = self.clients.pop(pid)
        self.selector.unregister(connection)
        connection.close()
        _kill_group(pid)

    def _end(self, _signum: int, _frame: FrameType | None) -> NoReturn:
        for pid in self.clients:
            _kill_group(pid)
        os._exit(0)


def run_module(module: str, argv: list[str]) -> None:
    """What `python -m module argv…` does, in a process that has everything imported."""
    sys.argv = [module, *argv]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _run(request: dict[str, Any], fds: list[int]) -> NoReturn:
    code = 1
    try:
        _dress(request, fds)
        module, _, function = request["target"].partition(":")
        getattr(importlib.import_module(module), function)(*request["args"])
        code = 0
    except SystemExit as end:
        code = _exit_code(end)
    except BaseException:  # the child's last frame: whatever it was belongs into its log
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            if not stream.closed:
                stream.flush()
        os._exit(code)


def _exit_code(end: SystemExit) -> int:
    """The code that Python itself would end with: anything but a number or None is printed and counts as 1."""
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    print(end.code, file=sys.stderr)
    return 1


def _dress(request: dict[str, Any], fds: list[int]) -> None:
    """Give the forked child its streams, environment, folder, name and randomness."""
    for target, fd in enumerate(fds) if fds else ((n, _log(request["log"])) for n in (1, 2)):
        os.dup2(fd, target)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    os.environ.update(request["env"])
    if request.get("cwd"):
        os.chdir(request["cwd"])
    for entry in reversed(os.environ.get("PYTHONPATH", "").split(os.pathsep)):
        if entry and entry not in sys.path:
            sys.path.insert(0, entry)
    sys.argv = [request["name"]]
    random.seed()
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()


def _log(path: str) -> int:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    head, fds, _, _ = socket.recv_fds(connection, _LENGTH.size, 3)
    try:
        if len(head) < _LENGTH.size:
            raise EOFError
        return json.loads(_receive_all(connection, *_LENGTH.unpack(head))), fds
    except (OSError, ValueError, EOFError):
        _close(fds)
        raise


def _receive_all(connection: socket.socket, length: int) -> bytes:
    body = bytearray()
    while len(body) < length:
        part = connection.recv(length - len(body))
        if not part:
            raise EOFError
        body += part
    return bytes(body)


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


def _tell(connection: socket.socket, answer: Mapping[str, int | str]) -> None:
    with contextlib.suppress(OSError):  # the client went away; its child is killed when the selector notices
        connection.sendall(json.dumps(answer).encode() + b"\n")


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _other_threads() -> list[str]:
    """Names of this process's other threads; jemalloc's own (pyarrow brings it) is made safe by its fork handlers."""
    names = [
        (task / "comm").read_text().strip()
        for task in Path("/proc/self/task").iterdir()
        if int(task.name) != os.getpid()
    ]
    return [name for name in names if name != "jemalloc_bg_thd"]


def _ignore(_signum: int, _frame: FrameType | None) -> None:
    """SIGCHLD only has to wake the selector."""


def main(listener_fd: int, preload: list[str]) -> None:
    listener = socket.socket(fileno=listener_fd)
    # For classes of the user's pickles; last, so that no file there hides a module of ours.
    sys.path.append(str(Path.cwd()))
    gc.disable()  # imports make many objects and no garbage: collecting costs a third of their time
    for module in preload:
        importlib.import_module(module)
    if others := _other_threads():
        print(f"warning: threads before the first fork, started by a preloaded module: {others}", flush=True)
    gc.freeze()
    gc.enable()
    Server(listener).run()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
