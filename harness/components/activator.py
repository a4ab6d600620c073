"""The activator: holds the requests of services that have no replica, and hands them back to Envoy when there is one.

It is an endpoint of such a service's cluster. A request that comes is parked, and who scales is told; once a replica is
routed the request is answered with a header on which Envoy tries it again, now with that replica. So every answer is a
replica's own, and what waits here is neither parsed nor changed. Who has it in a process of its own talks to it by
harness.components.activator_control.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from harness.components.gateway import HELD_HEADER, MAX_REQUEST_BYTES
from harness.errors import PlatformError
from harness.runtime.ports import LOOPBACK

HEAD_BYTES = 256 * 1024
START_S = 10.0
READ_S = 10.0  # Envoy has the whole request before it sends the first byte of it
NOT_HERE = "no service of this host waits for a replica"
_UNAVAILABLE = "503 Service Unavailable"
_REQUEST_LINE = re.compile(rb"[A-Z]+ /[\x21-\xff]* HTTP/1\.[01]")


@dataclass
class _Host:
    """Whose requests wait; `why` not "" refuses them."""

    within_s: float
    waiting: int = 0
    why: str = ""
    decided: asyncio.Event = field(default_factory=asyncio.Event)


class ActivatorServer:
    """Listens from when its address is first asked for; every method may be called from any thread.

    One that was started again has yet to be told: requests to a host that it does not know wait `unknown_s` for that.
    A request that is not whole within `read_s` is refused.
    """

    def __init__(self, port: int = 0, host: str = LOOPBACK, *, unknown_s: float = 0.0, read_s: float = READ_S) -> None:
        self.wanted: Callable[[str], None] = lambda host: None
        """Called with the host of each request that begins to wait."""
        self.moved: Callable[[], None] = lambda: None
        """Never called: it stays where it is."""
        self._at = host, port
        self._unknown_s = unknown_s
        self._read_s = read_s
        self._told: dict[str, asyncio.Event] = {}
        self._hosts: dict[str, _Host] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end = asyncio.Event()
        self._address = self._at

    @property
    def address(self) -> tuple[str, int]:
        """Where Envoy sends the requests that are to be held."""
        with self._lock:
            if self._thread is None:
                listens = threading.Event()
                work = self._listen(listens)
                self._thread = threading.Thread(target=asyncio.run, args=(work,), name="activator", daemon=True)
                self._thread.start()
                if not listens.wait(START_S):
                    raise PlatformError("activator: it does not listen")
        return self._address

    def hold(self, host: str, *, within_s: float) -> None:
        """From now on let requests to `host` wait, each at most so long."""
        self._call(lambda: self._begin(host, within_s))

    def let_go(self, host: str) -> None:
        """Hand back what waits, and what still comes: there is a replica now."""
        self._call(lambda: self._decide(host, ""))

    def refuse(self, host: str, why: str) -> None:
        """Answer what waits, and what still comes, with 503 and the reason: there will be no replica."""
        self._call(lambda: self._decide(host, why))

    def held(self) -> dict[str, int]:
        """Host -> requests that wait now."""
        return {host: state.waiting for host, state in list(self._hosts.items()) if state.waiting}

    def close(self) -> None:
        """Drop what waits and listen no more; safe to call twice."""
        loop, self._loop = self._loop, None
        if loop is not None and self._thread is not None:
            loop.call_soon_threadsafe(self._end.set)
            self._thread.join()

    async def _listen(self, listens: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._serve, *self._at, limit=HEAD_BYTES)
        host, port = server.sockets[0].getsockname()
        self._address = str(host), int(port)
        listens.set()
        await self._end.wait()
        server.close()

    def _call(self, act: Callable[[], None]) -> None:
        """Run `act` in the loop and wait for it: what the caller does next must meet its effect."""
        loop = self._loop
        if loop is None:
            return

        async def acted() -> None:
            act()

        try:
            asyncio.run_coroutine_threadsafe(acted(), loop).result(START_S)
        except TimeoutError as error:
            raise PlatformError(f"activator: no answer within {START_S:g} s") from error

    def _begin(self, host: str, within_s: float) -> None:
        known = self._hosts.get(host)
        if known is None or known.decided.is_set():
            self._hosts[host] = _Host(within_s)
            self._now_known(host)

    def _decide(self, host: str, why: str) -> None:
        state = self._hosts.setdefault(host, _Host(0.0))
        state.why = why
        state.decided.set()
        self._now_known(host)

    def _now_known(self, host: str) -> None:
        if (told := self._told.pop(host, None)) is not None:
            told.set()

    async def _state(self, host: str) -> _Host | None:
        if host not in self._hosts and self._unknown_s:
            told = self._told.setdefault(host, asyncio.Event())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(told.wait(), self._unknown_s)
        return self._hosts.get(host)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            host, refusal = await _read(reader, self._read_s)
            writer.write(refusal or await self._answer(host))
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # who asked is gone: there is nobody to answer
        except asyncio.CancelledError:
            pass  # the activator is being closed
        finally:
            writer.close()

    async def _answer(self, host: str) -> bytes:
        state = await self._state(host)
        if state is None:
            return _response(_UNAVAILABLE, NOT_HERE)
        state.waiting += 1
        try:
            if not state.decided.is_set():
                self.wanted(host)
                await asyncio.wait_for(state.decided.wait(), state.within_s)
        except TimeoutError:
            return _response(_UNAVAILABLE, f"no replica was ready within {state.within_s:g} s")
        finally:
            state.waiting -= 1
        return _response(_UNAVAILABLE, state.why)


async def _read(reader: asyncio.StreamReader, within_s: float) -> tuple[str, bytes]:
    """Take a whole request: its host, and the answer that refuses it, empty if it is in order."""
    try:
        async with asyncio.timeout(within_s):
            host, length = head_of(await reader.readuntil(b"\r\n\r\n"))
            if length > MAX_REQUEST_BYTES:
                return host, _response("413 Content Too Large", f"the body is larger than {MAX_REQUEST_BYTES} bytes")
            await _skip(reader, length)
            return host, b""
    except asyncio.LimitOverrunError:
        return "", _response("431 Request Header Fields Too Large", f"the head is larger than {HEAD_BYTES} bytes")
    except TimeoutError:
        return "", _response("408 Request Timeout", f"the request was not whole within {within_s:g} s")
    except ValueError as error:
        return "", _response("400 Bad Request", str(error))


def head_of(head: bytes) -> tuple[str, int]:
    """A request's host, in lower case and without a port, and the length of its body; ValueError if it is no HTTP/1.

    Envoy has buffered the body and counted it.
    """
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    if not _REQUEST_LINE.fullmatch(first) or not all(b":" in line for line in lines):
        raise ValueError("expected a request of HTTP/1.1")
    parted = [line.partition(b":") for line in lines]
    fields = {name.lower(): value.strip() for name, _, value in parted}
    length = fields.get(b"content-length", b"0")
    if not length.isdigit() or sum(name.lower() == b"content-length" for name, _, _ in parted) > 1:
        raise ValueError("content-length: expected a number of bytes")
    return fields.get(b"host", b"").decode("latin-1").lower().partition(":")[0], int(length)


async def _skip(reader: asyncio.StreamReader, length: int) -> None:
    """Drop a body: Envoy keeps it for the replica."""
    while length > 0:
        length -= len(await reader.readexactly(min(length, HEAD_BYTES)))


def _response(status: str, why: str) -> bytes:
    body = json.dumps({"error": why}).encode() if why else b""
    lines = [
        f"HTTP/1.1 {status}",
        "content-type: application/json",
        f"content-length: {len(body)}",
        "connection: close",
        *([] if why else [f"{HELD_HEADER}: 1"]),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body
