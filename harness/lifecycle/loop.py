"""The closed loop's decisions: an alert begins a round, and a round ends with a better model or with none. Pure.

    watching -> gathering -> training -> judging -> releasing -> recovering -> watching
                                                                     `-> reverting -> watching

One round at a time: an alert that comes while one is under way joins it. A round that does not help takes back what it
released and holds the loop for `hold_s`: the same alert would only train the same model again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from harness.errors import UsageError
from harness.report.record import AlertRecord, LoopRound, MetricRecord

Z99 = 2.5758
"""Both sides of a difference at 99 %; a round looks when the rows have doubled, so five looks err 1 in 40 at most."""

Key = tuple[str, float]


class Phase(StrEnum):
    WATCHING = "watching"
    GATHERING = "gathering"
    TRAINING = "training"
    JUDGING = "judging"
    RELEASING = "releasing"
    RECOVERING = "recovering"
    REVERTING = "reverting"


class Outcome(StrEnum):
    RECOVERED = "recovered"
    STILL_ALERTING = "better, and still alerting"
    NOT_HELPED = "did not help"
    ROLLED_BACK = "rolled back"
    REFUSED = "refused by the gate"
    FAILED = "training failed"
    NO_DATA = "not enough data"
    STUCK = "could not be taken back"


class Do(StrEnum):
    """What the loop wants done; the answer comes with the next look."""

    TRAIN = "train"
    JUDGE = "judge"
    RELEASE = "release"
    REVERT = "revert"


@dataclass(frozen=True)
class LoopPolicy:
    """When a round begins, and what it must show.

    fresh_rows: labelled rows since the shift that a training needs, waited for at most `gather_s`.
    recover_rows: labelled rows of the new version that its quality is first judged by; after `recover_s` a version
      without a proven difference is taken back, unless quality had not dropped and the alerts are over.
    hold_s: how long no round begins after one that did not help; cooldown_s: after one that did.
    """

    alerts: tuple[str, ...] = ("RehearsalDrift", "RehearsalQualityDrop")
    fresh_rows: int = 2_000
    gather_s: float = 600.0
    recover_rows: int = 500
    recover_s: float = 120.0
    hold_s: float = 3_600.0
    cooldown_s: float = 60.0

    def __post_init__(self) -> None:
        if not self.alerts:
            raise UsageError("loop.alerts: expected the name of at least one alert")
        least = {"fresh_rows": 100, "recover_rows": 100, "gather_s": 1, "recover_s": 1, "hold_s": 0, "cooldown_s": 0}
        for name, bound in least.items():
            if not getattr(self, name) >= bound:
                raise UsageError(f"loop.{name}: expected at least {bound}, got {getattr(self, name)!r}")


@dataclass(frozen=True)
class Answer:
    """How it went that something was done."""

    good: bool
    words: str
    version: int | None = None


@dataclass(frozen=True)
class Seen:
    """What the loop sees at a look: every alert of its service so far, and what its phase asks for.

    since: when the drifted window began; rows: fresh rows with a label; after_rows: labelled rows of the new version.
    """

    alerts: Sequence[AlertRecord] = ()
    since: float | None = None
    rows: int = 0
    before: MetricRecord | None = None
    during: MetricRecord | None = None
    after: MetricRecord | None = None
    after_rows: int = 0
    answer: Answer | None = None


@dataclass(frozen=True)
class State:
    """Where the loop is; the last of `rounds` is the one under way unless it is watching."""

    phase: Phase = Phase.WATCHING
    phase_at: float = 0.0
    rounds: tuple[LoopRound, ...] = ()
    known: frozenset[Key] = frozenset()
    held_until: float = 0.0
    next_look_rows: int = 0
    reason: str = field(default="", repr=False)

    @property
    def round(self) -> LoopRound:
        return self.rounds[-1]

    def noted(self, **changes: Any) -> State:
        """With changes to the last round."""
        return replace(self, rounds=(*self.rounds[:-1], self.round.model_copy(update=changes)))

    def entered(self, phase: Phase, now: float, **changes: Any) -> State:
        """In another phase of the same round."""
        return replace(self.noted(**changes), phase=phase, phase_at=now)


Next = tuple[State, Do | None]


def step(state: State, policy: LoopPolicy, seen: Seen, now: float) -> Next:
    """What follows from a look."""
    ours = [alert for alert in seen.alerts if alert.name in policy.alerts]
    keys = {_key(alert) for alert in ours}
    counted = _counted(state, len(keys - state.known), now)
    return _STEPS[state.phase](replace(counted, known=state.known | keys), policy, replace(seen, alerts=ours), now)


def difference(old: MetricRecord, new: MetricRecord) -> float:
    """How many standard errors the new quality is better than the old one, of independent rows; below 0: worse.

    Normal approximation.
    """
    better = new.value - old.value if old.name == "auc" else old.value - new.value
    spread = (old.standard_error**2 + new.standard_error**2) ** 0.5
    return better / spread if spread else math.copysign(math.inf, better) if better else 0.0


def _counted(state: State, fresh: int, now: float) -> State:
    """Alerts that begin nothing are counted where they belong."""
    if not fresh or not state.rounds:
        return state
    if state.phase is not Phase.WATCHING:
        return state.noted(joined=state.round.joined + fresh)
    return state.noted(ignored=state.round.ignored + fresh) if now < state.held_until else state


def _watching(state: State, policy: LoopPolicy, seen: Seen, now: float) -> Next:
    firing = [alert for alert in seen.alerts if alert.resolved_at is None]
    if not firing or now < state.held_until:
        return state, None
    first = min(firing, key=lambda alert: alert.started_at)
    began = LoopRound(
        service="{namespace}/{service}".format_map({"namespace": "", "service": "", **first.labels}),
        alerts=sorted({alert.name for alert in firing}),
        since=first.started_at if seen.since is None else seen.since,
        alerted_at=first.told_at,
    )
    return replace(state, rounds=(*state.rounds, began), phase=Phase.GATHERING, phase_at=now), None


def _gathering(state: State, policy: LoopPolicy, seen: Seen, now: float) -> Next:
    state = state.noted(rows=seen.rows, before=seen.before, during=seen.during)
    if seen.rows >= policy.fresh_rows:
        return state.entered(Phase.TRAINING, now, gathered_at=now), Do.TRAIN
    if now - state.phase_at >= policy.gather_s:
        words = f"{seen.rows} of {policy.fresh_rows} labelled rows came within {policy.gather_s:g} s"
        return _held(state, policy, Outcome.NO_DATA, words, now), None
    return state, None


def _training(state: State, policy: LoopPolicy, seen: Seen, now: float) -> Next:
    answer = _answer(seen)
    if not answer.good:
        return _held(state, policy, Outcome.FAILED, answer.words, now), None
    return state.entered(Phase.JUDGING, now, version=answer.version, trained_at=now), Do.JUDGE


def _judging(state: State, policy: LoopPolicy, seen: Seen, now: float) -> Next:
    answer = _answer(seen)
    if not answer.good:
        return _held(state.noted(judged_at=now), policy, Outcome.REFUSED, answer.words, now), None
    return state.entered(Phase.RELEASING, now, judged_at=now), Do.RELEASE


def _releasing(state: State, policy: LoopPolicy, seen: Seen, now: float) -> Next:
    answer = _answer(seen)
    if not answer.good:
        return _held(state, policy, Outcome.ROLLED_BACK, answer.words, now), None
    entered = state.entered(Phase.RECOVERING, now, released_at=now)
    return replace(entered, next_look_rows=policy.recover_rows), None


def _recovering(state: State, policy: LoopPolicy, seen: Seen, now: float) -> Next:
    late = now - state.phase_at >= policy.recover_s
    over = all(alert.resolved_at is not None for alert in seen.alerts)
    during, after = state.round.during, seen.after
    sure = 0.0
    if during is not None and after is not None and (late or seen.after_rows >= state.next_look_rows):
        sure = difference(during, after)
        state = replace(state.noted(after=after), next_look_rows=max(state.next_look_rows, 2 * seen.after_rows))
    words = _compared(state.round)
    if sure <= -Z99:
        return _revert(state, f"worse: {words}", now)
    better = _better(state.round)
    if better and over:
        return _ended(state, Outcome.RECOVERED, words, now, hold_s=policy.cooldown_s), None
    if not late:
        return state, None
    if better:
        return _held(state, policy, Outcome.STILL_ALERTING, words, now), None
    if over and after is not None and not _dropped(state.round):
        return _ended(state, Outcome.RECOVERED, f"no worse: {words}", now, hold_s=policy.cooldown_s), None
    return _revert(state, f"no better after {policy.recover_s:g} s: {words}", now)


def _reverted(state: State, policy: LoopPolicy, seen: Seen, now: float) -> Next:
    answer = _answer(seen)
    outcome = Outcome.NOT_HELPED if answer.good else Outcome.STUCK
    return _held(state, policy, outcome, f"{state.reason}; {answer.words}", now), None


def _revert(state: State, reason: str, now: float) -> Next:
    return replace(state.entered(Phase.REVERTING, now), reason=reason), Do.REVERT


def _held(state: State, policy: LoopPolicy, outcome: Outcome, reason: str, now: float) -> State:
    return _ended(state, outcome, reason, now, hold_s=policy.hold_s)


def _ended(state: State, outcome: Outcome, reason: str, now: float, *, hold_s: float) -> State:
    ended = state.entered(Phase.WATCHING, now, outcome=outcome.value, reason=reason, ended_at=now)
    return replace(ended, held_until=now + hold_s, next_look_rows=0)


def _better(round_: LoopRound) -> bool:
    return round_.during is not None and round_.after is not None and difference(round_.during, round_.after) >= Z99


def _dropped(round_: LoopRound) -> bool:
    """Quality had become worse, so that a new version must show more than that it is no worse."""
    if round_.before is None or round_.during is None:
        return "RehearsalQualityDrop" in round_.alerts
    return difference(round_.before, round_.during) <= -Z99


def _compared(round_: LoopRound) -> str:
    shown = [
        f"{name} {metric.value:.3f} ({metric.low:.3f} to {metric.high:.3f})"
        for name, metric in (("before", round_.before), ("shifted", round_.during), ("retrained", round_.after))
        if metric is not None
    ]
    named = round_.during or round_.after
    return f"quality ({named.name}): {', '.join(shown)}" if named else "no labelled rows to compare"


def _answer(seen: Seen) -> Answer:
    if seen.answer is None:
        raise ValueError("a phase that waits for an answer was looked at without one")
    return seen.answer


def _key(alert: AlertRecord) -> Key:
    return alert.fingerprint, alert.started_at


_STEPS: dict[Phase, Callable[[State, LoopPolicy, Seen, float], Next]] = {
    Phase.WATCHING: _watching,
    Phase.GATHERING: _gathering,
    Phase.TRAINING: _training,
    Phase.JUDGING: _judging,
    Phase.RELEASING: _releasing,
    Phase.RECOVERING: _recovering,
    Phase.REVERTING: _reverted,
}
