"""The activator, asked by a plain client: what it holds, hands back, and refuses."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
import pytest

from harness.clients.http import client
from harness.components.activator import HEAD_BYTES, ActivatorServer
from harness.components.gateway import HELD_HEADER
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait
from tests import hostile

HOST = "risk-production.example.com"


@pytest.fixture
def activator() -> Iterator[ActivatorServer]:
    found = ActivatorServer()
    yield found
    found.close()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as found:
        yield found


def ask(activator: ActivatorServer, host: str = HOST, body: bytes = b"x" * 500_000) -> httpx.Response:
    with client("http://{}:{}".format(*activator.address), timeout_s=10) as http:
        return http.post("/v1/models/risk:predict", content=body, headers={"host": host})


def waiting(activator: ActivatorServer, pool: ThreadPoolExecutor, count: int) -> list[Future[httpx.Response]]:
    """So many requests that wait."""
    asked = [pool.submit(ask, activator) for _ in range(count)]
    wait(lambda: activator.held() == {HOST: count}, what="held", deadline=Deadline.after(10))
    return asked


def test_what_waits_is_handed_back_once_there_is_a_replica(
    activator: ActivatorServer, pool: ThreadPoolExecutor
) -> None:
    """Who scales is told of each; after the release a request that still comes does not wait at all."""
    told: list[str] = []
    activator.wanted = told.append
    assert activator.address[0] == "127.0.0.1"
    activator.hold(HOST, within_s=30)
    asked = waiting(activator, pool, 5)
    assert told == [HOST] * 5
    activator.let_go(HOST)
    answers = [each.result(10) for each in asked] + [ask(activator, f"{HOST.title()}:8080")]
    assert {(answer.status_code, answer.headers.get(HELD_HEADER)) for answer in answers} == {(503, "1")}
    assert activator.held() == {}
    assert len(told) == 5


def test_what_cannot_be_served_is_told_why_and_is_not_tried_again(
    activator: ActivatorServer, pool: ThreadPoolExecutor
) -> None:
    assert activator.address
    activator.hold(HOST, within_s=30)
    (asked,) = waiting(activator, pool, 1)
    activator.refuse(HOST, "ModelLoadFailed: no such version")
    answer = asked.result(10)
    assert (answer.status_code, answer.json()) == (503, {"error": "ModelLoadFailed: no such version"})
    assert HELD_HEADER not in answer.headers


def test_nobody_waits_for_ever_nor_for_a_service_that_is_unknown(activator: ActivatorServer) -> None:
    assert activator.address
    activator.hold(HOST, within_s=0.2)
    assert ask(activator).json() == {"error": "no replica was ready within 0.2 s"}
    assert ask(activator, "other.example.com").json() == {"error": "no service of this host waits for a replica"}


def test_a_service_that_is_idle_again_holds_again(activator: ActivatorServer, pool: ThreadPoolExecutor) -> None:
    assert activator.address
    activator.hold(HOST, within_s=30)
    activator.let_go(HOST)
    activator.hold(HOST, within_s=30)
    (asked,) = waiting(activator, pool, 1)
    assert not asked.done()
    activator.let_go(HOST)
    assert asked.result(10).headers[HELD_HEADER] == "1"


def test_a_client_that_leaves_and_one_that_speaks_no_http_disturb_nobody(activator: ActivatorServer) -> None:
    activator.hold(HOST, within_s=30)
    with socket.create_connection(activator.address) as rude:
        rude.sendall(b"\x00" * 10)
    activator.hold(HOST, within_s=30)
    with socket.create_connection(activator.address) as leaving:
        leaving.sendall(f"POST / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 0\r\n\r\n".encode())
        wait(lambda: activator.held() == {HOST: 1}, what="held", deadline=Deadline.after(10))
    activator.let_go(HOST)
    wait(lambda: not activator.held(), what="gone", deadline=Deadline.after(10))
    assert ask(activator).headers[HELD_HEADER] == "1"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
        (b"POST nothing HTTP/1.1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nnonsense\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nx: " + b"a" * HEAD_BYTES + b"\r\n\r\n", 431),
    ],
    ids=["no HTTP", "no path", "no colon", "negative", "too much", "a long head"],
)
def test_what_is_no_request_is_told_so(activator: ActivatorServer, sent: bytes, status: int) -> None:
    assert hostile.send(activator.address[1], sent).what == status


def test_a_request_that_is_never_whole_is_given_up() -> None:
    """Neither a head that comes drop by drop nor a body that does not come holds a connection for ever."""
    activator = ActivatorServer(read_s=0.5)
    try:
        assert hostile.drip(activator.address[1], within_s=5).what == 408
        waiting = b"POST / HTTP/1.1\r\ncontent-length: 10\r\n\r\nabc"
        assert hostile.send(activator.address[1], waiting).what == 408
    finally:
        activator.close()
