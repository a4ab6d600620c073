"""What an engine refuses in the middle of a run is one line of a PlatformError, and leaves nothing behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from docker.errors import APIError, DockerException, NotFound
from requests.exceptions import ConnectionError as NoConnection
from requests.exceptions import RequestException

from harness.backends.containers import launcher, registry
from harness.backends.containers.child import ContainerChild
from harness.backends.containers.faults import ContainerFaults
from harness.backends.containers.launcher import Containers
from harness.backends.containers.registry import Registry
from harness.components.postgres import postgres
from harness.containers import refusals
from harness.errors import CapabilityMissing, PlatformError
from harness.images import engine
from harness.runtime.clock import Deadline
from harness.runtime.events import Event, EventLog
from harness.runtime.wait import wait

LINE = r"^x: (refused|gone)$"
REFUSED, GONE = APIError("refused"), NoConnection("gone")
NETWORK = "rehearsal-0"
IS_IN = f"endpoint with name x already exists in network {NETWORK}"


class Wrapped:
    """A container of Docker's client; `error` is what it answers to everything that it is asked."""

    id = "c0"

    def __init__(self) -> None:
        self.attrs: dict[str, Any] = {
            "State": {"Pid": 7, "Paused": False, "OOMKilled": False},
            "NetworkSettings": {"Networks": {NETWORK: {"IPAddress": "10.0.0.2"}}},
        }
        self.error: Exception | None = None
        self.ended = threading.Event()

    def asked(self, *_: object, **__: object) -> Any:
        if self.error is not None:
            raise self.error
        return SimpleNamespace(exit_code=0, output=b"")

    reload = unpause = exec_run = asked

    def kill(self, signum: str) -> None:
        self.asked()
        self.ended.set()

    def logs(self, **_: object) -> Iterator[bytes]:
        self.ended.wait()
        return iter(())

    def wait(self, **_: object) -> dict[str, int]:
        return {"StatusCode": 0}


class Component:
    """A container as testcontainers starts it, whatever its options."""

    def __init__(self, *_: object) -> None:
        self.wrapped = Wrapped()
        self.stopped = 0

    def __getattr__(self, name: str) -> Callable[..., Component]:
        if not name.startswith(("with_", "waiting_")):
            raise AttributeError(name)
        return lambda *_: self

    def start(self) -> Component:
        return self

    def stop(self) -> None:
        self.stopped += 1
        self.wrapped.ended.set()
        self.wrapped.asked()

    def get_wrapped_container(self) -> Wrapped:
        return self.wrapped


class Network:
    """A network of the run, as testcontainers has it and as Docker's client does; `error`: what it answers."""

    name = NETWORK

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self._unwrap_network = self

    def connect(self, *_: object, **__: object) -> None:
        if self.error is not None:
            raise self.error

    def disconnect(self, *_: object, **__: object) -> None:
        """Nothing to be cut off from."""


class Supervisor:
    """Holds children and stops them."""

    def __init__(self, folder: Path) -> None:
        self.held: list[ContainerChild] = []
        self.folder = folder

    def log_path(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def adopt(self, child: ContainerChild) -> None:
        self.held.append(child)

    def children(self) -> list[ContainerChild]:
        return self.held

    def stop(self, child: ContainerChild, grace_s: float = 1.0) -> None:
        child.stop(grace_s)
        self.held.remove(child)


def ground(network: Network) -> Any:
    @contextmanager
    def launching(name: str) -> Iterator[None]:
        yield

    return SimpleNamespace(network=network, labels={}, launching=launching)


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[Component, ContainerChild]]:
    """A container that runs, and the child that it is."""
    started: Any = Component()
    child = ContainerChild("x", started, tmp_path / "log", limit_mib=1)
    yield started, child
    started.wrapped.ended.set()
    child.wait(5)


@pytest.mark.parametrize("error", [REFUSED, GONE], ids=["refused", "gone"])
@pytest.mark.parametrize("ask", [lambda child: child.execute(["a"]), lambda child: child.address(NETWORK)])
def test_what_is_asked_of_a_container_is_refused_in_a_line(
    held: tuple[Component, ContainerChild], error: Exception, ask: Callable[[ContainerChild], object]
) -> None:
    started, child = held
    started.wrapped.error = error
    with pytest.raises(PlatformError, match=LINE):
        ask(child)


@pytest.mark.parametrize("error", [REFUSED, GONE], ids=["refused", "gone"])
def test_a_container_that_cannot_be_stopped_is_a_line_and_its_removal_was_tried(
    held: tuple[Component, ContainerChild], error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, child = held
    for patience in ("LOG_S", "KILL_S"):
        monkeypatch.setattr(f"harness.backends.containers.child.{patience}", 0.1)
    started.wrapped.error = error
    with pytest.raises(PlatformError, match=LINE):
        child.stop(0.1)
    assert started.stopped == 1


@pytest.mark.parametrize("error", [REFUSED, GONE], ids=["refused", "gone"])
def test_a_container_that_may_not_join_a_network_is_not_left(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it was started for the run, or is one that the session had ready."""
    made = Component()
    monkeypatch.setattr(launcher, "ComponentContainer", lambda component: made)
    supervisor: Any = Supervisor(tmp_path)
    recipe = postgres("secret")
    joins: Any = {"postgres": Network(error)}
    starting = Containers(supervisor, ground(Network()), joins=joins)
    with pytest.raises(PlatformError, match=r"^postgres: (refused|gone)$"):
        starting.start(recipe, tmp_path, {})
    ready: Any = Component()
    with pytest.raises(PlatformError, match=r"^postgres: (refused|gone)$"):
        Containers(supervisor, ground(Network(error))).take(recipe, ready)
    assert (made.stopped, ready.stopped, supervisor.held) == (1, 1, [])


def test_a_container_that_is_gone_before_it_is_held_is_a_line(tmp_path: Path) -> None:
    supervisor: Any = Supervisor(tmp_path)
    ready: Any = Component()
    ready.wrapped.error = NotFound("refused")
    with pytest.raises(PlatformError, match=r"^postgres: refused$"):
        Containers(supervisor, ground(Network())).take(postgres("secret"), ready)
    assert ready.stopped == 1


@pytest.mark.parametrize("error", [NoConnection("gone"), DockerException("gone")])
def test_an_engine_that_goes_while_something_starts_is_a_line(
    error: RequestException | DockerException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it is gone for good, what is missing is told instead, with how to get it."""
    monkeypatch.setattr(engine, "probe", lambda: None)
    with pytest.raises(PlatformError, match=LINE), refusals.in_words("x"):
        raise error

    def missing() -> None:
        raise CapabilityMissing("The Docker engine is not running.")

    monkeypatch.setattr(engine, "probe", missing)
    with pytest.raises(CapabilityMissing), refusals.in_words("x"):
        raise error


@pytest.fixture
def cut_off(
    held: tuple[Component, ContainerChild], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Network, ContainerChild, Callable[[], None], list[Event]]]:
    """A replica that has left its network: that, the replica, what lets it join again, and the events."""
    monkeypatch.setattr("harness.backends.containers.faults.NOTICED_S", 0.1)
    network, (_, child) = Network(), held
    supervisor: Any = Supervisor(tmp_path)
    supervisor.adopt(child)
    replica = SimpleNamespace(revision="v1", pid=child.pid, state="ready")
    told: list[Event] = []
    with closing(EventLog(tmp_path / "events.jsonl")) as events:
        events.listen(told.append)
        containers = Containers(supervisor, ground(network))
        status: Any = lambda *_: SimpleNamespace(replicas=[replica])  # noqa: E731
        faults = ContainerFaults(containers, events, tmp_path, {}, status)
        join = faults.disrupt("replica-cut-off", "production", "churn", "v1")
        assert join is not None
        yield network, child, join, told


CutOff = tuple[Network, ContainerChild, Callable[[], None], list[Event]]


def test_a_replica_that_was_cut_off_joins_again_or_is_there_already(cut_off: CutOff) -> None:
    network, _, join, told = cut_off
    join()
    network.error = APIError(IS_IN)
    join()
    assert [event.message for event in told[1:]] == [f"joins the network {NETWORK}"] * 2


@pytest.mark.parametrize("error", [REFUSED, GONE], ids=["refused", "gone"])
def test_a_replica_that_stays_cut_off_is_told_and_not_passed_over(cut_off: CutOff, error: Exception) -> None:
    """Or a rollout would be judged by a replica that nobody reaches."""
    network, _, join, told = cut_off
    network.error = error
    with pytest.raises(PlatformError, match=LINE):
        join()
    assert len(told) == 1


def test_a_replica_that_was_replaced_has_nothing_to_join(cut_off: CutOff) -> None:
    network, child, join, told = cut_off
    child.stop(0.1)
    network.error = NotFound("No such container")
    join()
    assert len(told) == 1


class NoDatabase:
    """A session's database that is never started."""

    def __init__(self, *_: object) -> None:
        """Without a volume."""

    def start(self, deadline: Deadline) -> None:
        raise PlatformError("not in this test")


@pytest.mark.parametrize("spare", [True, False])
def test_a_server_that_is_claimed_when_the_session_has_ended_is_refused_in_words(
    spare: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C stops the registry while a run begins."""
    monkeypatch.setattr(registry, "Database", NoDatabase)
    supervisor: Any = Supervisor(tmp_path)
    events: Any = None
    stopping = Registry(tmp_path, supervisor, events, spare=spare)
    stopping.stop()
    with pytest.raises(PlatformError, match=r"^mlflow: the session has ended$"):
        stopping.claim(Deadline.after(5))


def test_a_server_whose_start_was_called_off_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waited for its turn when the session ended."""
    monkeypatch.setattr(registry, "Database", NoDatabase)
    supervisor: Any = Supervisor(tmp_path)
    events: Any = None
    stopping = Registry(tmp_path, supervisor, events, spare=False)
    busy, goes_on = threading.Event(), threading.Event()

    def turn() -> None:
        busy.set()
        goes_on.wait(10)

    stopping._pool.submit(turn)
    busy.wait(10)
    with ThreadPoolExecutor(1) as runs:
        stopping.prepare()
        claimed = runs.submit(stopping.claim, Deadline.after(10))
        wait(lambda: stopping._next is None, what="the claim", deadline=Deadline.after(10))
        stopping.stop()
        goes_on.set()
        with pytest.raises(PlatformError, match=r"^mlflow: the session has ended$"):
            claimed.result()
