"""Carries a rollout out on a service: looks, asks the state machine, acts, until the rollout is done."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from time import time as unix_time
from typing import Any, Protocol

import httpx

from harness.errors import PlatformError, RehearsalError, RequestFailed
from harness.lifecycle.rollout import (
    Action,
    Canary,
    Observation,
    Outcome,
    Phase,
    Promote,
    SetWeight,
    State,
    expired,
    pending,
    step,
)
from harness.lifecycle.verdict import Counts
from harness.report.record import RevisionCounts, RolloutRecord
from harness.runtime.clock import Clock, Deadline


class ServingPort(Protocol):
    """A service with a baseline that serves and a canary to be; each call returns when it is in effect.

    The calls raise PlatformError (ServiceFailed, WaitTimeout) when the platform cannot do it. `counts` are totals that
    only grow, all read at one moment; `slow` are among the `timed` requests, which may be behind `requests`. Revisions
    without traffic may be missing.
    """

    service: str
    baseline: str
    canary: str

    def start_canary(self) -> None: ...

    def set_weight(self, percent: int) -> None: ...

    def promote(self) -> None: ...

    def roll_back(self) -> None: ...

    def counts(self) -> list[RevisionCounts]: ...


OnEvent = Callable[[str, str, dict[str, Any]], None]  # kind ("rollout.weight"), words, data
OnState = Callable[[State], None]


def drive(
    policy: Canary,
    serving: ServingPort,
    clock: Clock,
    deadline: Deadline,
    on_event: OnEvent,
    *,
    every_s: float = 0.1,
    resume: State | None = None,
    on_state: OnState = lambda state: None,
    unix: Callable[[], float] = unix_time,
) -> RolloutRecord:
    """Run a rollout to its end, looking every `every_s` seconds; the record says how it ended and why.

    `on_state` is given every new state; a rollout goes on from one with `resume`, on the same clock. Whatever
    interrupts the rollout (Ctrl-C included), the baseline gets the traffic back before the exception goes on. `unix`
    dates the record's steps.
    """
    driver = _Driver(serving, clock, on_event, on_state)
    state = resume or State(policy, clock.now(), names=(serving.baseline, serving.canary))
    driver = _Driver(serving, clock, on_event, on_state)
    try:
        state = driver.begin(state)
        while state.phase is not Phase.DONE:
            phase = state.phase
            state = driver.act(*expired(state, clock.now())) if deadline.passed() else driver.next(state, driver.look())
            if state.phase is phase:
                clock.sleep(every_s)
    except BaseException:
        with contextlib.suppress(RehearsalError, httpx.HTTPError):
            serving.roll_back()
        raise
    return _record(state, serving, clock.now(), unix())


class _Driver:
    def __init__(self, serving: ServingPort, clock: Clock, on_event: OnEvent, on_state: OnState) -> None:
        self.serving, self.clock, self.on_event, self.on_state = serving, clock, on_event, on_state

    def begin(self, state: State) -> State:
        """Start the canary, or do again what a resumed rollout may not have done."""
        if state.phase is not Phase.STARTING:
            return self.act(state, pending(state))
        self.on_event("rollout.started", f"{self.serving.canary} starts beside {self.serving.baseline}", {})
        return self.next(state, self.tried(self.serving.start_canary))

    def next(self, state: State, seen: Observation) -> State:
        return self.act(*step(state, seen, self.clock.now()))

    def act(self, state: State, actions: tuple[Action, ...]) -> State:
        """Carry out the actions; one that fails is an observation, and the state machine answers it."""
        self.on_state(state)
        for action in actions:
            self._tell(state, action)
            if isinstance(action, SetWeight):
                failed = self.tried(self.serving.set_weight, action.percent).failure
            elif isinstance(action, Promote):
                failed = self.tried(self.serving.promote).failure
            else:
                self.serving.roll_back()
                failed = ""
            if failed:
                return self.next(state, Observation(failure=failed))
        return state

    def tried(self, call: Callable[..., None], *args: int) -> Observation:
        try:
            call(*args)
        except (PlatformError, RequestFailed) as error:
            return Observation(failure=str(error))
        return Observation()

    def look(self) -> Observation:
        try:
            found = {counts.revision: counts for counts in self.serving.counts()}
        except (PlatformError, RequestFailed, httpx.TransportError) as error:
            # No counters is not a failing canary: the rollout waits for them and ends without evidence.
            self.on_event("rollout.blind", f"no counters: {error}", {})
            return Observation()
        return Observation(_counts(found.get(self.serving.canary)), _counts(found.get(self.serving.baseline)))

    def _tell(self, state: State, action: Action) -> None:
        closed = state.steps[-1].model_dump(mode="json") if state.steps else {}
        if isinstance(action, SetWeight):
            why = f" ({state.steps[-1].reason})" if state.steps else ""
            self.on_event("rollout.weight", f"{self.serving.canary} gets {action.percent} %{why}", closed)
        elif isinstance(action, Promote):
            self.on_event("rollout.promoted", f"{self.serving.canary} is promoted: {state.reason}", closed)
        else:
            self.on_event("rollout.rolled_back", f"{self.serving.canary} is rolled back: {action.reason}", closed)


def _counts(found: RevisionCounts | None) -> Counts:
    if found is None:
        return Counts()
    return Counts(found.requests, found.failed, found.slow, found.timed, found.routed)


def _record(state: State, serving: ServingPort, now: float, unix_now: float) -> RolloutRecord:
    # Steps were timed on the rollout's clock, whose origin has no meaning; the record has Unix seconds.
    offset = unix_now - now
    steps = [closed.model_copy(update={"started_at": closed.started_at + offset}) for closed in state.steps]
    splits = list(state.splits)
    return RolloutRecord(
        service=serving.service,
        policy=f"canary {'-'.join(map(str, state.policy.steps))} %",
        baseline=serving.baseline,
        canary=serving.canary,
        outcome=state.outcome or Outcome.NOT_ENOUGH_EVIDENCE,
        reason=state.reason,
        steps=steps,
        duration_s=now - state.started_at,
        split={"passed": all(split["passed"] for split in splits), "steps": splits},
    )
