"""The autoscaler of a world without a cluster: one thread that reads, asks the formula, and tells the controller.

It reads the gateway's counters and the replicas' processor time a few times a second, and decides each revision every
`sync_s`. Who has no replica is given one as soon as somebody waits for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import httpx

from harness.backends.embedded import sizing
from harness.backends.embedded.activator import Activator
from harness.backends.embedded.controller import Controller
from harness.backends.embedded.readings import Readings
from harness.backends.embedded.scaled import Scaled
from harness.backends.node import NodeOptions
from harness.clients.envoy import EnvoyClient, Traffic
from harness.errors import RehearsalError
from harness.lifecycle.autoscaler import Decision, History, Look, Observed, Replica, decide, woken
from harness.runtime.clock import WALL, Clock
from harness.runtime.events import EventLog
from harness.runtime.process import Child
from harness.runtime.usage import Usage, usage_of

READ_S = 0.25
OF_REPLICAS = ("cpu", "memory")
Key = tuple[str, str, str]
Seen = Callable[[Scaled, Look], None]


@dataclass
class _Kept:
    """What is remembered of one revision between two looks."""

    readings: Readings
    history: History = field(default_factory=History)
    next_look: float = 0.0
    seen: Look | None = None
    said: str = ""


class Autoscaler:
    """Scales until `close`; its thread starts with the first call of `begin`."""

    def __init__(
        self,
        controller: Controller,
        gateway: EnvoyClient,
        activator: Activator,
        options: NodeOptions,
        events: EventLog,
        *,
        usage: Callable[[Child], Usage | None] = usage_of,
        clock: Clock = WALL,
    ) -> None:
        self.options = options
        self._controller, self._gateway, self._activator = controller, gateway, activator
        self._events, self._usage, self._clock = events, usage, clock
        self._kept: dict[Key, _Kept] = {}
        self._watching: list[Seen] = []
        self._lock = threading.Lock()
        self._awake = threading.Event()
        self._end = False
        self._thread: threading.Thread | None = None
        activator.wanted = lambda _host: self._awake.set()

    def begin(self) -> None:
        """Scale from now on; safe to call again."""
        with self._lock:
            if self._thread is None and not self._end:
                self._thread = threading.Thread(target=self._run, name="autoscaler", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Decide nothing any more; safe to call twice."""
        self._end = True
        self._awake.set()
        if self._thread is not None:
            self._thread.join()

    def watch(self, seen: Seen) -> Callable[[], None]:
        """Tell of every look; call what is returned to end that."""
        with self._lock:
            self._watching.append(seen)

        def leave() -> None:
            with self._lock:
                self._watching.remove(seen)

        return leave

    def _run(self) -> None:
        while not self._end:
            try:
                self.step()
            except (RehearsalError, OSError, ValueError) as error:  # half an answer, an activator that is too slow
                message = f"{type(error).__name__}: {error}"
                self._events.emit("autoscaler.error", "autoscaler", message, level="error")
            self._awake.wait(READ_S)
            self._awake.clear()

    def step(self) -> None:
        """Read once, wake who is waited for, and decide those whose time has come."""
        now, scaled = self._clock.now(), self._controller.scaled(self.options)
        there = {each.key for each in scaled}
        self._kept = {key: kept for key, kept in self._kept.items() if key in there}
        held = self._activator.held()
        for each in scaled:
            if each.size == 0 and held.get(each.host):
                self._wake(each, now, held[each.host])
        traffic = self._traffic() if scaled else {}
        for each in scaled:
            kept = self._of(each)
            if each.cluster in traffic:
                kept.readings.take(now, traffic[each.cluster])
            if any(target.metric in OF_REPLICAS for target in each.spec.targets):
                self._read_replicas(kept.readings, each, now)
            if now >= kept.next_look:
                kept.next_look = now + each.spec.sync_s
                self._look(kept, _at_least_one(each) if held.get(each.host) else each, now)
            elif kept.seen is not None and kept.seen.ready != each.ready:
                self._tell(kept, each, kept.seen.metric, each.size)

    def _traffic(self) -> dict[str, Traffic]:
        """Nothing while the gateway does not answer: as upstream, what was recommended before still counts."""
        try:
            return self._gateway.traffic()
        except httpx.TransportError:
            return {}

    def _of(self, each: Scaled) -> _Kept:
        return self._kept.setdefault(each.key, _Kept(Readings(self.options.window_s)))

    def _read_replicas(self, readings: Readings, each: Scaled, now: float) -> None:
        readings.keep(replica.number for replica in each.replicas)
        for replica in each.replicas:
            if replica.child is not None and (used := self._usage(replica.child)) is not None:
                readings.take_usage(now, replica.number, used)

    def _wake(self, each: Scaled, now: float, waiting: int) -> None:
        kept = self._of(each)
        kept.history = woken(kept.history, now)
        kept.next_look = now + each.spec.sync_s
        requests = "1 request waits" if waiting == 1 else f"{waiting} requests wait"
        self._controller.scale(*each.key, 1, requests)
        self._tell(kept, each, None, 1)

    def _look(self, kept: _Kept, each: Scaled, now: float) -> None:
        decision = decide(each.spec, _observed(each, kept.readings, now), kept.history, now)
        kept.history = decision.history
        self._note_silence(kept, each, decision)
        value = decision.proposals[0].value if decision.proposals else None
        self._tell(kept, each, value, decision.replicas)
        if decision.replicas != each.size:
            self._controller.scale(*each.key, decision.replicas, decision.reason)

    def _note_silence(self, kept: _Kept, each: Scaled, decision: Decision) -> None:
        """What keeps the formula from an answer is told once, unless it is that a replica is too young to say."""
        why = next((found.why for found in decision.proposals if "request" in found.why), "")
        if why and why != kept.said:
            message = f"{each.revision} is not scaled: {why}"
            self._events.emit("autoscaler.silent", f"{each.namespace}/{each.service}", message, level="warning")
        kept.said = why

    def _tell(self, kept: _Kept, each: Scaled, metric: float | None, asked: int) -> None:
        look = kept.seen = Look(time.time(), metric, asked, each.ready)
        with self._lock:
            watching = list(self._watching)
        for seen in watching:
            seen(each, look)


def _at_least_one(each: Scaled) -> Scaled:
    """While somebody waits for it a revision keeps its replica: who waits makes no further requests to be counted."""
    return replace(each, spec=sizing.with_one(each.spec)) if each.size else each


def _observed(each: Scaled, readings: Readings, now: float) -> Observed:
    requests = dict(each.requests)
    replicas = tuple(
        Replica(
            ready=replica.ready_at is not None,
            pending=replica.child is None,
            started_at=replica.created,
            ready_changed_at=replica.ready_at if replica.ready_at is not None else replica.created,
            samples=readings.samples(now, replica.number),
            requests=requests,
        )
        for replica in each.replicas
    )
    return Observed(each.size, replicas, readings.totals(now))
