"""Whether a target takes connections is known within two seconds, whatever its name stands for."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from harness.errors import UsageError
from harness.load.reach import require_reachable
from harness.runtime.ports import reserve

MANY = 8


@pytest.fixture
def silent() -> Iterator[int]:
    """A port of this machine whose queue is full: the kernel drops what asks for a connection."""
    with ExitStack() as opened:
        full = opened.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            waits = opened.enter_context(socket.socket())
            waits.setblocking(False)
            waits.connect_ex(full.getsockname())
        yield full.getsockname()[1]


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that takes connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def name_of(monkeypatch: pytest.MonkeyPatch, *ports: int) -> None:
    """Every name stands for these ports of this machine."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


def test_many_addresses_that_say_nothing_take_no_longer_than_one(monkeypatch: pytest.MonkeyPatch, silent: int) -> None:
    name_of(monkeypatch, *[silent] * MANY)
    began = time.monotonic()
    with pytest.raises(UsageError, match=r"http://many:1 takes no connection within 1.5 s Hint: rehearse status"):
        require_reachable("http://many:1")
    assert time.monotonic() - began < 1.5 * (MANY - 1)


def test_one_address_that_answers_is_enough(monkeypatch: pytest.MonkeyPatch, silent: int, taken: int) -> None:
    """Whatever stands before it."""
    name_of(monkeypatch, *[silent] * MANY, reserve(), taken)
    began = time.monotonic()
    require_reachable("http://many:1")
    assert time.monotonic() - began < 1.5


def test_where_all_refuse_it_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    name_of(monkeypatch, reserve(), reserve())
    with pytest.raises(UsageError, match=r"http://many:1: Connection refused"):
        require_reachable("http://many:1")


def test_a_name_server_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's own look-up takes no time limit."""
    ended, began = threading.Event(), time.monotonic()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [][ended.wait(20) :])
    with pytest.raises(UsageError, match=r"takes no connection within 1.5 s"):
        require_reachable("http://slow.example")
    assert time.monotonic() - began < 10
    ended.set()


@pytest.mark.parametrize(
    ("url", "words"),
    [("http://127.0.0.1:99999", "is no target: Port out of range"), ("ftp://x", "is no target; expected http://")],
)
def test_what_is_no_target_is_told(url: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        require_reachable(url)
