"""What the page draws of a rollout: weights, evidence over time, the split, effects, answers, and its price."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from harness.report import _format as fmt
from harness.report._interval import exact_interval
from harness.report.plots import Axis, Line, Mark, chart, interval
from harness.report.record import AnswersRecord, Effect, EvidencePoint, RolloutRecord, RolloutStep

CONFIDENCE = 0.999
TIME = Axis("time", "s", from_zero=False)
KINDS = {"canary": "Canary", "ab": "A/B test", "blue-green": "Blue-green", "shadow": "Shadow"}
GOOD = ("promoted", "cleared")
PAUSE_S = 0.5  # a shorter gap between two steps is the time that a change of weights takes
_SHARES = {"ab": "Share of requests assigned to", "shadow": "Copies, as a share of all requests, given to"}
_WEAKEST, _BEYOND = -4, 2  # powers of ten: the least evidence that is drawn, and how far above the limit


def kind(rollout: RolloutRecord) -> str:
    return KINDS[rollout.kind]


def ended_well(rollout: RolloutRecord) -> bool:
    return rollout.outcome in GOOD


def began(rollout: RolloutRecord) -> float:
    """Unix seconds; a record from before rollouts were dated has its steps' times only."""
    return rollout.started_at or min((step.started_at for step in rollout.steps), default=0.0)


def weight(percent: int) -> str:
    """A step's weight; at 0 % a canary gets copies only: a shadow's step, or a blue-green one's warming."""
    return f"{percent}{fmt.THIN}%" if percent else "copies"


def weight_chart(rollout: RolloutRecord, name: str, key: int) -> str:
    if not rollout.steps:
        return ""
    start, last = began(rollout), rollout.steps[-1]
    end = last.started_at + last.duration_s - start
    moved = rollout.outcome == "promoted"
    heights = [_copied(step, rollout) if rollout.kind == "shadow" else float(step.percent) for step in rollout.steps]
    points = [(0.0, 0.0)] if rollout.steps[0].started_at > start else []
    points += [(step.started_at - start, height) for step, height in zip(rollout.steps, heights, strict=True)]
    gone = end if rollout.rollback is None else max(end, rollout.rollback.effective_at - start)
    final = 100.0 if moved else 0.0
    points += [(gone, heights[-1]), (gone, final), (gone * 1.04, final)]
    words = ", ".join(f"{weight(step.percent)} for {fmt.seconds(step.duration_s)}" for step in rollout.steps)
    return chart(
        [Line(rollout.canary, points, key, "steps")],
        name=name, title=f"{_SHARES.get(rollout.kind, 'Share of traffic for')} {rollout.canary}",
        x=TIME, y=Axis("weight", "%", top=100.0),
        says=f"{words}; then {final:.0f} %.", marks=_moments(rollout, start),
    )  # fmt: skip


def _copied(step: RolloutStep, rollout: RolloutRecord) -> float:
    """Percent of the baseline's requests that the canary got copies of."""
    requests = {counts.revision: counts.routed or counts.requests for counts in step.counts}
    served = requests.get(rollout.baseline, 0)
    return 100.0 * min(1.0, requests.get(rollout.canary, 0) / served) if served else 0.0


def _moments(rollout: RolloutRecord, start: float) -> list[Mark]:
    if rollout.rollback is None or rollout.rollback.first_bad_at is None:
        return []
    return [Mark(rollout.rollback.first_bad_at - start, "first bad")]


def evidence_charts(rollout: RolloutRecord, name: str) -> list[str]:
    """One chart a guard: both e-values over time on a logarithmic axis, with the limits at which they decide."""
    guards = dict.fromkeys(point.guard for point in rollout.evidence)
    drawn = (_evidence_chart(rollout, guard, f"{name}-{index}") for index, guard in enumerate(guards))
    return [svg for svg in drawn if svg]


def _evidence_chart(rollout: RolloutRecord, guard: str, name: str) -> str:
    points = [point for point in rollout.evidence if point.guard == guard]
    promote_at, roll_back_at = limits(rollout, guard)
    highest = math.log10(max(promote_at, roll_back_at))
    most = max(max(point.good, point.bad) for point in points)
    top = math.ceil(highest) + (_BEYOND if most > 10**highest else 1)
    start = began(rollout)
    steps = [Mark(step.started_at - start, weight(step.percent)) for step in rollout.steps]
    return chart(
        [
            Line("bound kept", [(point.t_s, point.good) for point in points], "good"),
            Line("bound broken", [(point.t_s, point.bad) for point in points], "bad"),
        ],
        name=name, title=guard[:1].upper() + guard[1:], x=TIME, y=Axis("e-value", "e-value", span=(_WEAKEST, top)),
        says=_evidence_words(points, promote_at, roll_back_at), marks=[*_limit_marks(promote_at, roll_back_at), *steps],
    )  # fmt: skip


def limits(rollout: RolloutRecord, guard: str) -> tuple[float, float]:
    """The e-values at which a guard promotes and rolls back, as its last verdict has them."""
    found = [verdict for step in rollout.steps for verdict in step.guards if verdict.guard == guard]
    return (found[-1].promote_at, found[-1].roll_back_at) if found else (1e3, 1e3)


def _limit_marks(promote_at: float, roll_back_at: float) -> list[Mark]:
    if promote_at == roll_back_at:
        return [Mark(promote_at, f"promotes or rolls back at {fmt.limit(promote_at)}", "y")]
    return [
        Mark(promote_at, f"promotes at {fmt.limit(promote_at)}", "y"),
        Mark(roll_back_at, f"rolls back at {fmt.limit(roll_back_at)}", "y"),
    ]


def _evidence_words(points: list[EvidencePoint], promote_at: float, roll_back_at: float) -> str:
    parts = (("kept", [p.good for p in points], "promotes", promote_at),
             ("broken", [p.bad for p in points], "rolls back", roll_back_at))  # fmt: skip
    return "; ".join(
        f"evidence that the bound is {what}: highest {fmt.number(max(values))}, last {fmt.number(values[-1])}, "
        f"{does} at {fmt.limit(limit)}"
        for what, values, does, limit in parts
    )


@dataclass(frozen=True)
class Split:
    """One step's share of canary requests against the weight; the exact interval is drawn, `passed` is the record's.

    Shares are in [0, 1]; `passed` is None if the record does not judge this step. `needed` requests show a weight that
    is 5 points off with the probability that verdicts ask for, and `power` is that of the requests there were.
    """

    percent: int
    hits: int
    total: int
    low: float
    high: float
    passed: bool | None
    power: float | None = None
    needed: int | None = None

    @property
    def observed(self) -> float:
        return self.hits / self.total

    @property
    def drawn(self) -> str:
        return interval(self.low, self.high, self.observed, self.percent / 100, 1.0)


def splits(rollout: RolloutRecord) -> list[Split]:
    found = (split_of(rollout, step) for step in rollout.steps)
    return [split for split in found if split is not None]


def split_of(rollout: RolloutRecord, step: RolloutStep) -> Split | None:
    """None where nothing is split (0 %, 100 %, a shadow's copies), and for a step without requests."""
    if rollout.kind == "shadow" or step.percent in (0, 100):
        return None
    judged: dict[str, Any] = next((s for s in rollout.split.get("steps", []) if _percent(s) == step.percent), {})
    hits = judged.get("canary", sum(c.requests for c in step.counts if c.revision == rollout.canary))
    total = judged.get("requests", 0) if "canary" in judged else sum(counts.requests for counts in step.counts)
    if not total:
        return None
    low, high = exact_interval(hits, total, CONFIDENCE)
    needed, power = judged.get("needed"), judged.get("power")
    return Split(step.percent, hits, total, low, high, judged.get("passed"), power, needed)


def _percent(judged: dict[str, Any]) -> int:
    return round(100 * float(judged["configured"]))


@dataclass(frozen=True)
class Pause:
    """A time between two steps in which the weight stayed and nothing was judged; seconds."""

    after: int
    lasted_s: float


def pauses(rollout: RolloutRecord) -> list[Pause]:
    gaps = (
        Pause(before.percent, after.started_at - before.started_at - before.duration_s)
        for before, after in pairwise(rollout.steps)
    )
    return [pause for pause in gaps if pause.lasted_s >= PAUSE_S]


def effect_drawn(effect: Effect, effects: list[Effect]) -> str:
    """The interval around the difference, with zero as the wanted value, on the axis that all effects share."""
    end = 1.15 * max(max(abs(each.low), abs(each.high)) for each in effects) or 1.0
    return interval(effect.low, effect.high, effect.difference, 0.0, end, -end)


def effect_says(effect: Effect) -> str:
    if effect.low > 0:
        return "higher"
    return "lower" if effect.high < 0 else "no difference shown"


def agreement(answers: AnswersRecord) -> str:
    """The share of mirrored copies whose answer was the baseline's, with its exact interval; "" if none was held."""
    if not answers.compared:
        return ""
    low, high = exact_interval(answers.agreed, answers.compared, CONFIDENCE)
    of = f"{fmt.count(answers.agreed)} of {fmt.count(answers.compared)} copies agree with the baseline"
    share = fmt.percent(answers.agreed / answers.compared)
    return f"{of}: {share}, exact {fmt.percent(CONFIDENCE)} interval {fmt.percent(low)} to {fmt.percent(high)}"


def answers_chart(rollout: RolloutRecord, name: str, known: dict[str, int]) -> str:
    """Both revisions' distribution functions at the cuts."""
    answers = rollout.answers
    if answers is None:
        return ""
    lines = [
        Line(revision, _distribution(answers.cuts, below, total), known[revision])
        for revision, below, total in (
            (rollout.baseline, answers.baseline_below, answers.baseline),
            (rollout.canary, answers.canary_below, answers.canary),
        )
    ]
    return chart(
        lines, name=name, title="Predictions at or below each of the baseline’s deciles",
        x=Axis("prediction", from_zero=False), y=Axis("share", "%", top=100.0),
        says=f"The two distribution functions differ by {fmt.percent(answers.shift)} at most.",
    )  # fmt: skip


def _distribution(cuts: list[float], below: list[int], total: int) -> list[tuple[float, float]]:
    return [(cut, 100 * count / total) for cut, count in zip(cuts, below, strict=False)] if total else []


def price(rollout: RolloutRecord) -> Iterator[tuple[str, str]]:
    """What a rollback cost, as terms and values."""
    cost = rollout.rollback
    if cost is None:
        return
    start = began(rollout)
    if cost.first_bad_at is not None:
        yield "First bad answer seen", f"{fmt.seconds(cost.first_bad_at - start)} after the start"
    yield "Decided", f"{fmt.seconds(cost.decided_at - start)} after the start"
    yield "No more traffic for it", f"{fmt.seconds(cost.effective_at - start)} after the start"
    since = "the decision" if cost.first_bad_at is None else "the first bad answer"
    yield "Reaction", f"{fmt.seconds(cost.reaction_s)} from {since} to no traffic"
    if not cost.requests:
        yield "Requests harmed", "none: it got copies only"
        return
    yield "Requests harmed", f"{fmt.count(cost.harmed)} of {fmt.count(cost.requests)} during the rollout"
    yield "Share of the error budget", f"{fmt.percent(cost.budget_share)} of what the SLO allows of these requests"
