"""Carries a rollout out on a service: looks, asks the state machine, acts, until the rollout is done."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from time import time as unix_time
from typing import Any, Protocol

import httpx

from harness.errors import PlatformError, RehearsalError, RequestFailed
from harness.lifecycle._rollout_record import record_of
from harness.lifecycle.answers import Answers
from harness.lifecycle.rollout import (
    Action,
    Approval,
    Assign,
    By,
    Mirror,
    Observation,
    Outcome,
    Phase,
    Policy,
    Promote,
    RollBack,
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

    The calls raise PlatformError (ServiceFailed, WaitTimeout) when the platform cannot do it; done twice they do no
    harm. `counts` are totals that only grow, all read at one moment; `slow` are among the `timed` requests, which may
    be behind `requests`. Revisions without traffic may be missing.
    """

    service: str
    baseline: str
    canary: str

    def start_canary(self) -> None: ...

    def set_weight(self, percent: int) -> None: ...

    def assign(self, percent: int, by: By) -> None: ...

    def mirror(self, percent: int) -> None: ...

    def promote(self) -> None: ...

    def roll_back(self) -> None: ...

    def counts(self) -> list[RevisionCounts]: ...

    def read_at(self) -> float | None:
        """When the last counts were taken, on the rollout's clock; None: when they were asked for."""
        ...

    def answers(self) -> Answers | None:
        """What both revisions predicted since the canary started; None if nobody collects that."""
        ...

    def withheld(self) -> str:
        """Why latencies cannot be trusted now; empty if they can."""
        ...


OnEvent = Callable[[str, str, dict[str, Any]], None]  # kind ("rollout.weight"), words, data
OnState = Callable[[State], None]
Approve = Callable[[State], Approval | None]  # asked while a manual gate is open


def drive(
    policy: Policy,
    serving: ServingPort,
    clock: Clock,
    deadline: Deadline,
    on_event: OnEvent,
    *,
    every_s: float = 0.1,
    resume: State | None = None,
    on_state: OnState = lambda state: None,
    approve: Approve = lambda state: None,
    unix: Callable[[], float] = unix_time,
) -> RolloutRecord:
    """Run a rollout to its end, looking every `every_s` seconds; the record says how it ended and why.

    `on_state` is given every new state before it is acted upon; a rollout goes on from one with `resume`, on the same
    clock. Whatever interrupts the rollout (Ctrl-C included), the baseline gets the traffic back before the exception
    goes on. `unix` dates the record. Raises PlatformError if the platform does not roll back in the policy's time.
    """
    driver = _Driver(serving, clock, on_event, on_state, approve)
    state = resume or State(policy, clock.now(), names=(serving.baseline, serving.canary))
    try:
        state = driver.begin(state, resumed=resume is not None)
        while state.phase is not Phase.DONE:
            before = state.phase
            state = driver.turn(state, deadline)
            if state.phase is before:
                clock.sleep(every_s)
    except BaseException:
        with contextlib.suppress(RehearsalError, httpx.HTTPError):
            serving.roll_back()
        raise
    return record_of(state, serving.service, clock.now(), unix())


class _Driver:
    def __init__(
        self, serving: ServingPort, clock: Clock, on_event: OnEvent, on_state: OnState, approve: Approve
    ) -> None:
        self.serving, self.clock, self.approve = serving, clock, approve
        self.on_event, self.on_state = on_event, on_state
        self.told: State | None = None
        self.failing_since: float | None = None  # when a roll back was first refused
        self.blind = False

    def begin(self, state: State, *, resumed: bool) -> State:
        """Start the canary, or do again what a resumed rollout may not have done."""
        if resumed and state.phase is not Phase.DONE:
            state = replace(state, resumed=state.resumed + 1)
            self.on_event("rollout.resumed", f"the rollout of {self.serving.canary} goes on, {state.phase}", {})
        if state.phase is not Phase.STARTING:
            return self.act(state, pending(state))
        if not resumed:
            self.on_event("rollout.started", f"{self.serving.canary} starts beside {self.serving.baseline}", {})
        self.tell(state)
        return self.next(state, self.tried(self.serving.start_canary))

    def turn(self, state: State, deadline: Deadline) -> State:
        """One look and what follows from it."""
        if self.failing_since is not None:
            return self.act(state, pending(state))
        if deadline.passed() and state.phase not in (Phase.PROMOTING, Phase.ROLLING_BACK):
            return self.act(*expired(state, self.clock.now()))
        return self.next(state, self.look(state))

    def next(self, state: State, seen: Observation) -> State:
        return self.act(*step(state, seen, self.clock.now()))

    def act(self, state: State, actions: tuple[Action, ...]) -> State:
        """Carry out the actions; one that fails is an observation, and the state machine answers it."""
        self.tell(state)
        for action in actions:
            if isinstance(action, RollBack):
                self.roll_back(state)
            elif failed := self.tried(self.calls(action)).failure:
                return self.next(state, Observation(failure=failed))
        return state

    def calls(self, action: Action) -> Callable[[], None]:
        """The call of the serving port that an action is."""
        serving = self.serving
        if isinstance(action, SetWeight):
            return lambda: serving.set_weight(action.percent)
        if isinstance(action, Assign):
            return lambda: serving.assign(action.percent, action.by)
        if isinstance(action, Mirror):
            return lambda: serving.mirror(action.percent)
        return serving.promote if isinstance(action, Promote) else serving.roll_back

    def roll_back(self, state: State) -> None:
        """Roll back; a failure is tried again at each turn, until the policy's time for it is over."""
        failed = self.tried(self.serving.roll_back).failure
        if not failed:
            self.failing_since = None
            return
        if self.failing_since is None:
            self.failing_since = self.clock.now()
            self.on_event("rollout.stuck", f"the roll back is refused and tried again: {failed}", {})
        if self.clock.now() - self.failing_since >= state.policy.rollback_within_s:
            words = f"{self.serving.service}: no roll back within {state.policy.rollback_within_s:g} s: {failed}"
            raise PlatformError(words, hint=f"Take the traffic off {self.serving.canary} by hand.")

    def tried(self, call: Callable[[], None]) -> Observation:
        try:
            call()
        except (PlatformError, RequestFailed, httpx.TransportError) as error:
            return Observation(failure=str(error))
        return Observation()

    def look(self, state: State) -> Observation:
        approval = self.approve(state) if state.phase is Phase.GATED else None
        now = self.clock.now()
        try:
            found = {counts.revision: counts for counts in self.serving.counts()}
            answers = self.serving.answers()
        except (PlatformError, RequestFailed, httpx.TransportError) as error:
            # No counters is not a failing canary: the rollout waits for them and ends without evidence.
            if not self.blind:
                self.on_event("rollout.blind", f"no counters: {error}", {})
            self.blind = True
            return Observation(approval=approval)
        self.blind = False
        read_at = self.serving.read_at()
        return Observation(
            _counts(found.get(self.serving.canary)),
            _counts(found.get(self.serving.baseline)),
            at=now if read_at is None else read_at,
            answers=answers,
            approval=approval,
            withheld=self.serving.withheld(),
        )

    def tell(self, state: State) -> None:
        """Pass a new state on, and tell of a new phase."""
        if state == self.told:
            return
        self.on_state(state)
        if state.first_bad_at is not None and (self.told is None or self.told.first_bad_at is None):
            bad = {"failed": state.canary.total.failed, "slow": state.canary.total.slow}
            words = f"{state.names[1]} gave its first bad answers: {bad['failed']} failed, {bad['slow']} slow"
            self.on_event("rollout.first_bad", words, bad)
        if self.told is None or (state.phase, state.index) != (self.told.phase, self.told.index):
            closed = state.steps[-1].model_dump(mode="json") if state.steps else {}
            if said := _words(state):
                self.on_event(*said, closed)
        self.told = state


def _words(state: State) -> tuple[str, str] | None:
    """The event of a phase that begins: its kind, and a sentence."""
    canary = state.names[1]
    if state.phase is Phase.SHIFTING:
        why = f" ({state.steps[-1].reason})" if state.steps else ""
        action = state.stage.action
        if isinstance(action, Assign):
            return "rollout.assigned", f"{canary} gets {action.percent} % by {action.by}{why}"
        if isinstance(action, Mirror):
            return "rollout.mirrored", f"{canary} gets copies of {action.percent} % of the requests{why}"
        return "rollout.weight", f"{canary} gets {action.percent} %{why}"
    if state.phase is Phase.ROLLING_BACK:
        ending = "cleared" if state.outcome is Outcome.CLEARED else "rolled_back"
        return f"rollout.{ending}", f"{canary} is {ending.replace('_', ' ')}: {state.reason}"
    told = {
        Phase.PAUSED: ("rollout.paused", f"{canary} is proven at {state.percent} %, the step goes on for its pause"),
        Phase.GATED: ("rollout.gated", f"{canary} is proven at {state.percent} %, and waits for `rehearse approve`"),
        Phase.DRAINING: ("rollout.draining", f"{canary} is proven, {state.names[0]} ends its last requests"),
        Phase.PROMOTING: ("rollout.promoted", f"{canary} is promoted: {state.reason}"),
    }
    return told.get(state.phase)


def _counts(found: RevisionCounts | None) -> Counts:
    if found is None:
        return Counts()
    return Counts(found.requests, found.failed, found.slow, found.timed, found.routed)
