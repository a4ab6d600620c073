"""The nursery: a process that imports heavy modules once and then forks a ready worker in milliseconds.

Each forked child belongs to one connection: the connection tells the child's pid and later its exit code, and a client
that goes away takes its child with it.
"""

from __future__ import annotations

import json
import shlex
import socket
import struct
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import PlatformError, ProcessExited, WaitTimeout
from harness.runtime.clock import Deadline
from harness.runtime.identity import Identity
from harness.runtime.process import Process, launch

KILLED = -9
_LENGTH = struct.Struct("!I")


class Nursery:
    """A fork server with `preload` imported. Nobody waits for its imports but the first fork."""

    def __init__(self, name: str, preload: Sequence[str], *, log: Path, env: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.socket_path = folder / f"{name}.sock"
        self.socket_path.unlink(missing_ok=True)  # one of this name that died has left its own
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(_short(self.socket_path))
        listener.listen(64)
        with listener:
            # -P: neither a harness/ nor a random.py of the current folder may stand in for the real one.
            argv = [sys.executable, "-P", "-m", "harness.runtime._nursery_server", str(listener.fileno()), *preload]
            self.child = launch(name, argv, log=log, env=env, pass_fds=(listener.fileno(),))

    def fork(
        self,
        name: str,
        target: str,
        args: Sequence[Any],
        *,
        log: Path,
        env: Mapping[str, str],
        cwd: Path | None,
        deadline: Deadline,
    ) -> Process:
        """Fork a child that runs `target` ("module:function") with JSON-able `args`; `env` is laid over the own one."""
        request = {
            "name": name,
            "target": target,
            "args": list(args),
            "env": dict(env),
            "cwd": str(cwd) if cwd else None,
            "log": str(log),
        }
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(max(0.1, deadline.remaining_s()))
            connection.connect(_short(self.socket_path))
            send(connection, request)
            answer = receive_line(connection)
        except TimeoutError as error:
            connection.close()
            raise WaitTimeout(f"{name}: {self.name} did not fork it in time.\n{self.child.tail()}") from error
        except OSError:
            answer = None
        if answer is None:
            connection.close()
            raise ProcessExited(f"{name}: {self.name} has ended.\n{self.child.tail()}")
        if "error" in answer:
            connection.close()
            raise PlatformError(f"{answer['error']}.", hint="end other programs, or run with fewer replicas.")
        connection.settimeout(None)
        process = Identity.of(answer["pid"])
        return Process(name, process.pid, log, lambda: _exit_code(connection, process), ours=False)

    def warm_python(self, folder: Path) -> Path:
        """An executable in `folder` that acts as `python -m MODULE ARG…`, but forks from this nursery."""
        shim = Path(__file__).with_name("_warm_python.py")
        argv = [sys.executable, "-S", "-E", str(shim), str(self.socket_path)]
        path = folder / f"{self.name}-python3"
        path.write_text(f'#!/bin/sh\nexec {shlex.join(argv)} "$@"\n', encoding="utf-8")
        path.chmod(0o700)
        return path


def send(connection: socket.socket, request: Mapping[str, Any], fds: Sequence[int] = ()) -> None:
    """Send one request, with open files for the child's standard streams if there are any."""
    body = json.dumps(request).encode()
    socket.send_fds(connection, [_LENGTH.pack(len(body))], list(fds))
    connection.sendall(body)


def receive_line(connection: socket.socket) -> dict[str, Any] | None:
    """One JSON line of an answer; None at the end of the connection."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = connection.recv(1)
        if not byte:
            return None
        line += byte
    answer: dict[str, Any] = json.loads(line)
    return answer


def _exit_code(connection: socket.socket, process: Identity) -> int:
    """The exit code that the nursery tells; one that died has taken its children with it, and we what they started."""
    with connection:
        try:
            answer = receive_line(connection)
        except OSError:
            answer = None
    if answer:
        return int(answer["exit"])
    process.kill_session()
    return KILLED


def _short(path: Path) -> str:
    """A path that fits into a Unix socket address (108 bytes), whatever folder the run lives in."""
    text = str(path)
    if len(text) < 100:
        return text
    raise OSError(f"{text}: too long for a socket")
