"""A rollout whose driver is a process of its own, so that it can die by -9 in any phase and go on from its state.

The platform's process holds the serving port and answers the rollout's calls on a Unix socket, one after another: a
call that a killed rollout had begun is ended before its successor's first one. The rollout writes its state to a file
at every change, then tells the platform's process; it is killed while it waits for that answer, or for the answer to
the action that follows.
"""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from harness import errors
from harness.errors import PlatformError, RehearsalError, StepFailed
from harness.lifecycle.answers import Answers
from harness.lifecycle.driver import Approve, OnEvent, OnState, ServingPort, drive
from harness.lifecycle.rollout import By, Policy, State
from harness.report.record import RevisionCounts, RolloutRecord
from harness.report.store import write_text
from harness.runtime.clock import WALL, Clock, Deadline
from harness.runtime.job import answer, read_answer
from harness.runtime.nursery import Nursery
from harness.runtime.process import Child, ending
from harness.runtime.state import SCRATCH
from harness.runtime.supervisor import Supervisor

TARGET = "harness.chaos.rollout_process:main"
AT_MOST = 5
ACTIONS = ("start_canary", "set_weight", "assign", "mirror", "promote", "roll_back")
READINGS = ("counts", "read_at", "answers", "withheld")


@dataclass(frozen=True)
class Address:
    """Where a rollout's process finds the platform's."""

    socket: str
    key: bytes


@dataclass(frozen=True)
class Served:
    """What the platform's process gives to a rollout: its policy, the port, and whom to tell."""

    policy: Policy
    port: ServingPort
    on_event: OnEvent
    on_state: OnState
    approve: Approve
    after_action: Callable[[], None]


class PortServer:
    """Serves a ServingPort, events and news of the state to one rollout process after another."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._folder = tempfile.TemporaryDirectory(prefix=SCRATCH, ignore_cleanup_errors=True)
        self.address = Address(str(Path(self._folder.name) / "port.sock"), os.urandom(16))
        self._listener = Listener(self.address.socket, "AF_UNIX", authkey=self.address.key)
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="rollout-port", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        # Wakes who waits for a connection; a Client would wait for its greeting for ever if nobody accepts any more.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as waker:
            waker.settimeout(1.0)
            waker.connect(self.address.socket)
        self._thread.join(timeout=30)
        self._listener.close()
        self._folder.cleanup()

    def _run(self) -> None:
        while not self._closed:
            with contextlib.suppress(OSError, EOFError, AuthenticationError), self._listener.accept() as connection:
                self._serve(connection)

    def _serve(self, connection: Connection) -> None:
        while not self._closed:
            name, arguments = connection.recv()
            connection.send(self._answer(name, arguments))

    def _answer(self, name: str, arguments: tuple[Any, ...]) -> dict[str, Any]:
        try:
            return {"result": self._call(name, arguments)}
        except httpx.TransportError as error:
            return {"error": ("RequestFailed", f"{type(error).__name__}: {error}", "")}
        except RehearsalError as error:
            return {"error": (type(error).__name__, error.message, error.hint)}

    def _call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        served, port = self._served, self._served.port
        if name == "rollout":
            return served.policy, (port.service, port.baseline, port.canary)
        if name in ("on_event", "on_state", "approve"):
            return getattr(served, name)(*arguments)
        if name not in (*ACTIONS, *READINGS):
            raise PlatformError(f"rollout process: the serving port has no {name!r}")
        found = getattr(port, name)(*arguments)
        if name in ACTIONS:
            served.after_action()
        return found


class RemotePort:
    """The serving port as the rollout's process sees it; a ServingPort."""

    def __init__(self, address: Address) -> None:
        self._connection = Client(address.socket, "AF_UNIX", authkey=address.key)
        self.policy, (self.service, self.baseline, self.canary) = self.call("rollout")

    def call(self, name: str, *arguments: Any) -> Any:
        """One call in the platform's process; raises what it raised there."""
        try:
            self._connection.send((name, arguments))
            answered = self._connection.recv()
        except (OSError, EOFError) as error:
            raise PlatformError(f"rollout process: the platform's process went away during {name}") from error
        if failure := answered.get("error"):
            kind, message, hint = failure
            raise getattr(errors, kind)(message, hint=hint)
        return answered["result"]

    def start_canary(self) -> None:
        self.call("start_canary")

    def set_weight(self, percent: int) -> None:
        self.call("set_weight", percent)

    def assign(self, percent: int, by: By) -> None:
        self.call("assign", percent, by)

    def mirror(self, percent: int) -> None:
        self.call("mirror", percent)

    def promote(self) -> None:
        self.call("promote")

    def roll_back(self) -> None:
        self.call("roll_back")

    def counts(self) -> list[RevisionCounts]:
        found: list[RevisionCounts] = self.call("counts")
        return found

    def read_at(self) -> float | None:
        at: float | None = self.call("read_at")
        return at

    def answers(self) -> Answers | None:
        found: Answers | None = self.call("answers")
        return found

    def withheld(self) -> str:
        reason: str = self.call("withheld")
        return reason


class RolloutProcess:
    """Drives a rollout in a forked process, and in another one from the last state whenever that has been killed."""

    def __init__(self, supervisor: Supervisor, nursery: Callable[[], Nursery], folder: Path) -> None:
        self._supervisor, self._nursery, self._folder = supervisor, nursery, folder
        self._child: Child | None = None
        self._forking = threading.Lock()  # a process may drive before its fork is known here
        self.deaths = 0
        self.after_action: Callable[[], None] = lambda: None

    def kill(self) -> None:
        """Kill -9 of the process that drives now."""
        with self._forking:
            child = self._child
        if child is not None:
            child.kill()

    def drive(
        self,
        policy: Policy,
        serving: ServingPort,
        clock: Clock,
        deadline: Deadline,
        on_event: OnEvent,
        *,
        resume: State | None = None,
        on_state: OnState = lambda state: None,
        approve: Approve = lambda state: None,
    ) -> RolloutRecord:
        """As harness.lifecycle.driver.drive, to the end, across every death; the clock is the machine's."""
        if clock is not WALL:
            raise PlatformError("rollout process: two processes share no clock but the machine's")
        self._folder.mkdir(parents=True, exist_ok=True)
        self._state.unlink(missing_ok=True)  # of an earlier rollout in this folder
        if resume is not None:
            write_text(self._state, resume.to_json())
        served = Served(policy, serving, on_event, on_state, approve, lambda: self.after_action())
        try:
            with PortServer(served) as server:
                self._run_to_the_end(server.address, deadline)
        except BaseException:
            with contextlib.suppress(RehearsalError, httpx.HTTPError):
                serving.roll_back()
            raise
        return RolloutRecord.model_validate(read_answer(self._result))

    @property
    def _state(self) -> Path:
        return self._folder / "state.json"

    @property
    def _result(self) -> Path:
        return self._folder / "record.json"

    def _run_to_the_end(self, address: Address, deadline: Deadline) -> None:
        while (code := self._run(address, deadline)) != 0:
            self.deaths += 1
            if code > 0 or self.deaths > AT_MOST:
                raise StepFailed(f"the rollout's process {ending(code)}, for the {self.deaths}. time.")

    def _run(self, address: Address, deadline: Deadline) -> int:
        """One process from its start to its end; returns its exit code, negative for a signal."""
        config = {
            "socket": address.socket,
            "key": address.key.hex(),
            "state": str(self._state),
            "result": str(self._result),
            "deadline": deadline.at,
        }
        name = f"rollout-{self._folder.name}-{self.deaths + 1}"
        with self._forking:
            self._child = child = self._supervisor.fork(name, TARGET, config, nursery=self._nursery(), task=True)
        try:
            code = child.wait(deadline.remaining_s() + 30.0)
        finally:
            self._supervisor.stop(child)
        if code is None:
            raise StepFailed(f"{name}: still running after its deadline.\n{child.tail()}")
        return code


def main(config: dict[str, Any]) -> None:
    """The rollout's process: drive, or go on from the state file if there is one."""
    remote = RemotePort(Address(config["socket"], bytes.fromhex(config["key"])))
    state_file = Path(config["state"])
    resume = State.from_json(state_file.read_text(encoding="utf-8")) if state_file.exists() else None

    def keep(state: State) -> None:
        write_text(state_file, state.to_json())
        remote.call("on_state", state)

    def rollout() -> dict[str, Any]:
        record = drive(
            remote.policy,
            remote,
            WALL,
            Deadline(config["deadline"], WALL),
            lambda *event: remote.call("on_event", *event),
            resume=resume,
            on_state=keep,
            approve=lambda state: remote.call("approve", state),
        )
        return record.model_dump(mode="json")

    answer(config["result"], rollout)
