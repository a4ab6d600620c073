"""Requests of somebody who means harm, as they go over the wire, and what became of each."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ANSWER_S = 25.0  # more than the gateway waits for a whole request
DRIP_S = 0.25
KEPT_BYTES = 1 << 20
CLOSED = "closed"
OPEN = "still open"
_HEAD = "host: a\r\nconnection: close\r\n"


@dataclass(frozen=True)
class Outcome:
    """What came back: a status, CLOSED without one, or OPEN after the time; `content` is its beginning."""

    what: str | int
    took_s: float
    content: bytes = b""

    @property
    def refused(self) -> bool:
        """Whether it was answered that its sender is wrong, or hung up on."""
        return self.what == CLOSED or (isinstance(self.what, int) and 400 <= self.what < 500)


def requests(outside: str) -> Mapping[str, bytes]:
    """Name -> a request that no server of ours has anything good for; `outside` is a file that none may read."""
    paths = {
        "an absolute path": f"/{outside}",
        "a path upwards": f"/../../../../../../../..{outside}",
        "an encoded path upwards": f"/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e{outside}",
        "an encoded slash": f"/..%2f..%2f..%2f..%2f..%2f..%2f..{outside.replace('/', '%2f')}",
        "a backslash": f"/..\\..\\..\\..\\..\\..{outside}",
        "a null byte": f"/x%00{outside}",
        "a path below a real one": f"/metrics/../../../../../../..{outside}",
        "a file's URL": f"file://{outside}",
    }
    lines = {
        "an unknown method": "BREW /nothing HTTP/1.1",
        "a version of the future": "GET /nothing HTTP/9.9",
        "no version": "GET /nothing",
        "no path": "GET nothing HTTP/1.1",
        "a proxy's CONNECT": "CONNECT 192.0.2.1:80 HTTP/1.1",
    }
    posts = {
        "a negative length": "content-length: -1\r\n\r\n",
        "a length that is no number": "content-length: many\r\n\r\n",
        "two lengths": "content-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        "a huge length": "content-length: 99999999999\r\n\r\nabc",
        "a chunk that is none": "transfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n",
    }
    deeds = {
        "a stop": "POST /stop",
        "a shutdown": "POST /shutdown",
        "a deletion": "DELETE /",
        "a GET that drops": "GET /forget/x",
        "a GET that stops": "GET /stop",
        "an alert": "POST /alerts",
        "a write": "PUT /x",
    }
    return {
        **{name: f"GET {path} HTTP/1.1\r\n{_HEAD}\r\n".encode() for name, path in paths.items()},
        **{name: f"{line}\r\n{_HEAD}\r\n".encode() for name, line in lines.items()},
        **{name: f"POST /nothing HTTP/1.1\r\n{_HEAD}{rest}".encode() for name, rest in posts.items()},
        **{name: f"{line} HTTP/1.1\r\n{_HEAD}content-length: 0\r\n\r\n".encode() for name, line in deeds.items()},
        "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) + b"\r\n\r\n",
        "a header without a colon": f"GET /nothing HTTP/1.1\r\n{_HEAD}nonsense\r\n\r\n".encode(),
        "an oversized header": f"GET /nothing HTTP/1.1\r\n{_HEAD}x-long: ".encode() + b"a" * (1 << 20) + b"\r\n\r\n",
        "an oversized path": b"GET /" + b"a" * (1 << 20) + f" HTTP/1.1\r\n{_HEAD}\r\n".encode(),
        "ten thousand headers": f"GET /nothing HTTP/1.1\r\n{_HEAD}".encode()
        + b"".join(b"x-%d: 1\r\n" % number for number in range(10_000))
        + b"\r\n",
        "an oversized body": f"POST /nothing HTTP/1.1\r\n{_HEAD}content-length: {20 << 20}\r\n\r\n".encode()
        + b"a" * (20 << 20),
    }


def send(port: int, request: bytes, *, within_s: float = ANSWER_S, host: str = "127.0.0.1") -> Outcome:
    """Send a request as it stands, and read what comes until the other side is done."""
    began = time.monotonic()
    with socket.create_connection((host, port), timeout=within_s) as connection:
        try:
            connection.sendall(request)
        except TimeoutError:
            return Outcome(OPEN, time.monotonic() - began)
        except OSError:
            pass  # it hung up while we were still sending; it may have answered before
        return _read(connection, began, within_s)


def drip(port: int, *, within_s: float, host: str = "127.0.0.1") -> Outcome:
    """Send a head that never ends, drop by drop, until the other side has had enough of it."""
    began = time.monotonic()
    with socket.create_connection((host, port), timeout=DRIP_S) as connection:
        content = b""
        try:
            connection.sendall(b"GET / HTTP/1.1\r\nx-slow: ")
            while time.monotonic() < began + within_s:
                connection.sendall(b"a")
                try:
                    found = connection.recv(4096)
                except TimeoutError:
                    continue
                content += found
                if not found:
                    return _outcome(content, began)
        except OSError:
            return _outcome(content, began)
        return Outcome(OPEN, time.monotonic() - began)


def _read(connection: socket.socket, began: float, within_s: float) -> Outcome:
    content = b""
    try:
        while len(content) < KEPT_BYTES and (left := began + within_s - time.monotonic()) > 0:
            connection.settimeout(left)
            found = connection.recv(65536)
            if not found:
                return _outcome(content, began)
            content += found
    except TimeoutError:
        pass
    except OSError:
        return _outcome(content, began)
    return _outcome(content, began) if content else Outcome(OPEN, time.monotonic() - began)


def _outcome(content: bytes, began: float) -> Outcome:
    words = content.split(b"\r\n", 1)[0].split()
    is_http = len(words) >= 2 and words[0].startswith(b"HTTP/") and words[1].isdigit()
    return Outcome(int(words[1]) if is_http else CLOSED, time.monotonic() - began, content)


def attack(port: int, outside: Path, *, host: str = "127.0.0.1") -> Iterator[tuple[str, Outcome]]:
    """Every request, a few at a time."""
    wanted = requests(str(outside))
    with ThreadPoolExecutor(4) as pool:
        yield from zip(wanted, pool.map(lambda request: send(port, request, host=host), wanted.values()), strict=True)
