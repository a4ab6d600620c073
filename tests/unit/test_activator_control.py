"""The activator behind its control, over real HTTP on the loopback: told, asked, started again while it is needed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.backends.containers.activator import ContainerActivator
from harness.backends.embedded.starter import Running
from harness.clients.http import client
from harness.components.activator import ActivatorServer
from harness.components.activator_control import ControlServer, activator
from harness.components.gateway import HELD_HEADER
from harness.errors import PlatformError
from harness.runtime.clock import Deadline
from harness.runtime.ports import LOOPBACK, reserve
from harness.runtime.wait import wait

HOST = "risk-production.example.com"


class Container:
    """What stands for the container: the real servers, which can end and be started again on the same control port."""

    def __init__(self) -> None:
        self.starts = 0
        self.port = reserve()
        child: Any = None
        self.running = Running(activator(), Path(), {"http": self.port}, child, 0.0)

    def start(self) -> Running:
        self.starts += 1
        self._holding = ActivatorServer(unknown_s=10)
        self._server = ControlServer(self._holding, self.port, LOOPBACK)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self.running

    def find(self, _running: Running) -> tuple[str, int]:
        return self._server.held_at

    def die(self) -> None:
        """End as by a signal: who waits for news loses its connection, or what stands for that."""
        self._server.shutdown()
        self._server.server_close()
        self._server.act("/close", {})
        self._thread.join()


@pytest.fixture
def container() -> Iterator[Container]:
    found = Container()
    yield found
    if found.starts:
        found.die()


@pytest.fixture
def remote(container: Container) -> Iterator[ContainerActivator]:
    found = ContainerActivator(container.start, container.find)
    yield found
    found.close()
    found.close()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as found:
        yield found


def ask(activator: ContainerActivator) -> httpx.Response:
    return ask_at(activator.address)


def ask_at(address: tuple[str, int], host: str = HOST) -> httpx.Response:
    with client("http://{}:{}".format(*address), timeout_s=10) as http:
        return http.post("/v1/models/risk:predict", content=b"x" * 500_000, headers={"host": host})


def eventually(what: str, so: Callable[[], object]) -> None:
    wait(so, what=what, deadline=Deadline.after(10))


def test_it_is_started_when_its_address_is_first_asked_for(container: Container, remote: ContainerActivator) -> None:
    """Before there is nothing to tell, and nothing waits."""
    remote.let_go(HOST)
    assert (remote.held(), container.starts) == ({}, 0)
    assert remote.address == remote.address
    assert container.starts == 1


def test_what_it_holds_is_counted_told_and_handed_back(remote: ContainerActivator, pool: ThreadPoolExecutor) -> None:
    wanted: list[str] = []
    remote.wanted = wanted.append
    assert remote.address
    remote.hold(HOST, within_s=30)
    asked = [pool.submit(ask, remote) for _ in range(5)]
    eventually("held", lambda: remote.held() == {HOST: 5})
    eventually("wanted", lambda: wanted)
    assert set(wanted) == {HOST}
    remote.let_go(HOST)
    assert {(each.result(10).status_code, each.result(10).headers.get(HELD_HEADER)) for each in asked} == {(503, "1")}
    assert remote.held() == {}


def test_each_that_begins_to_wait_is_news(remote: ContainerActivator, pool: ThreadPoolExecutor) -> None:
    """Also the first after a while, with nobody who polls."""
    told = threading.Semaphore(0)
    remote.wanted = lambda host: told.release()
    assert remote.address
    for _ in range(3):
        remote.hold(HOST, within_s=30)
        asked = pool.submit(ask, remote)
        assert told.acquire(timeout=10)
        remote.let_go(HOST)
        assert asked.result(10).headers[HELD_HEADER] == "1"


def test_the_time_and_the_reason_of_a_refusal_arrive(remote: ContainerActivator, pool: ThreadPoolExecutor) -> None:
    assert remote.address
    remote.hold(HOST, within_s=0.2)
    assert ask(remote).json() == {"error": "no replica was ready within 0.2 s"}
    remote.refuse(HOST, "ModelLoadFailed: no such version")
    answer = ask(remote)
    assert (answer.json(), answer.headers.get(HELD_HEADER)) == ({"error": "ModelLoadFailed: no such version"}, None)


def test_one_that_was_started_again_is_told_anew_at_its_new_address(
    container: Container, remote: ContainerActivator, pool: ThreadPoolExecutor
) -> None:
    """What waited has failed; while it is away nothing waits in it, and the next requests do."""
    wanted, moved = threading.Semaphore(0), threading.Event()
    remote.wanted = lambda host: wanted.release()
    remote.moved = moved.set
    before = remote.address
    remote.hold(HOST, within_s=30)
    lost = pool.submit(ask, remote)
    assert wanted.acquire(timeout=10)
    container.die()
    container.running.tell("activator was killed by signal 9")
    assert isinstance(lost.exception(10), httpx.TransportError)
    assert (remote.held(), moved.is_set()) == ({}, False)
    container.start()
    container.running.tell("")
    assert moved.is_set()
    assert remote.address == container.find(container.running) != before
    remote.hold(HOST, within_s=30)
    asked = pool.submit(ask, remote)
    assert wanted.acquire(timeout=10)
    assert not asked.done()
    remote.let_go(HOST)
    assert asked.result(10).headers[HELD_HEADER] == "1"


def test_a_first_request_after_the_start_is_news_though_it_was_the_first_before_as_well(
    container: Container, remote: ContainerActivator, pool: ThreadPoolExecutor
) -> None:
    """Counts begin anew with each start: one that equals the last that was known says nothing."""
    wanted = threading.Semaphore(0)
    remote.wanted = lambda host: wanted.release()
    assert remote.address
    remote.hold(HOST, within_s=30)
    lost = pool.submit(ask, remote)
    assert wanted.acquire(timeout=10)
    container.die()
    assert isinstance(lost.exception(10), httpx.TransportError)
    container.start()
    remote.hold(HOST, within_s=30)
    asked = pool.submit(ask_at, container.find(container.running))
    eventually("held", lambda: remote.held() == {HOST: 1})
    container.running.tell("")
    assert wanted.acquire(timeout=10)
    remote.let_go(HOST)
    assert asked.result(10).headers[HELD_HEADER] == "1"


def test_one_that_was_started_again_refuses_nobody_before_it_is_told(
    container: Container, remote: ContainerActivator, pool: ThreadPoolExecutor
) -> None:
    """Its address may be the old one: requests come before the controller has said whose are to be held."""
    at = remote.address
    asked = [pool.submit(ask_at, at, host) for host in ("one.example.com", "two.example.com", "three.example.com")]
    wait(lambda: all(each.running() for each in asked), what="asking", deadline=Deadline.after(10))
    remote.hold("one.example.com", within_s=30)
    eventually("held", lambda: remote.held() == {"one.example.com": 1})
    remote.let_go("two.example.com")
    assert asked[1].result(10).headers[HELD_HEADER] == "1"
    remote.refuse("three.example.com", "the service was deleted")
    assert asked[2].result(10).json() == {"error": "the service was deleted"}
    remote.let_go("one.example.com")
    assert asked[0].result(10).headers[HELD_HEADER] == "1"


def test_who_tells_waits_until_it_is_back(
    container: Container, remote: ContainerActivator, pool: ThreadPoolExecutor
) -> None:
    assert remote.address
    container.die()
    told = pool.submit(remote.hold, HOST, within_s=0.1)
    wait(lambda: told.running(), what="telling", deadline=Deadline.after(10))
    container.start()
    container.running.tell("")
    told.result(10)
    assert ask(remote).json() == {"error": "no replica was ready within 0.1 s"}


def test_one_that_will_not_come_back_is_an_error(container: Container, remote: ContainerActivator) -> None:
    assert remote.address
    container.die()
    container.running.failed = "activator was killed by signal 9; its recipe allows no further restart"
    with pytest.raises(PlatformError, match=r"activator: hold: .*no further restart"):
        remote.hold(HOST, within_s=30)
    container.start()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/hold", b"{}"),
        ("/hold", b'{"host": "a", "within_s": "soon"}'),
        ("/hold", b"x"),
        ("/refuse", b"[]"),
        ("/else", b"{}"),
    ],
)
def test_what_says_nothing_that_is_known_is_refused(
    container: Container, remote: ContainerActivator, path: str, body: bytes
) -> None:
    assert remote.address
    with client(f"http://{LOOPBACK}:{container.port}") as http:
        assert http.post(path, content=body).status_code == 400
        assert http.get("/health").status_code == 200
        assert http.get("/else").status_code == 404
