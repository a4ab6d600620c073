"""What the page says that the record does not spell out: headline facts, the timeline, drawn series."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from harness.report import _format as fmt
from harness.report._axes import ticks
from harness.report._loop_view import began, helped
from harness.report._rollout_view import ended_well, kind
from harness.report.plots import Axis, Line, bar, chart
from harness.report.record import (
    ChaosCase,
    DriftRecord,
    PipelineRun,
    RunRecord,
    Step,
)


@dataclass(frozen=True)
class Fact:
    """One headline number; `tone` is "good", "bad" or "" and is also said by `mark`."""

    name: str
    value: str
    note: str = ""
    tone: str = ""


def surprising(window: DriftRecord) -> bool:
    return window.expected is not None and window.expected != window.drifted


def verdict(window: DriftRecord) -> str:
    return "drift" if window.drifted else "no drift"


def expectation(window: DriftRecord) -> str:
    return "–" if window.expected is None else "drift" if window.expected else "no drift"


def facts(record: RunRecord) -> list[Fact]:
    """The numbers of the run in a row of tiles; only those that the run has."""
    made = (_gate, _checks, _rollout, _chaos, _requests, _latency, _drift, _loop, _duration)
    return [fact for make in made for fact in make(record)]


def _gate(record: RunRecord) -> Iterator[Fact]:
    for gate in record.gates[-1:]:
        versus = f"version {gate.candidate}" + (f" against {gate.champion}" if gate.champion is not None else "")
        yield Fact("Gate", gate.summary, versus, "good" if gate.passed else "bad")


def _checks(record: RunRecord) -> Iterator[Fact]:
    results = [each.passed for found in record.checks for each in found.results if each.passed is not None]
    if results:
        versions = sorted({found.version for found in record.checks})
        note = f"version {', '.join(map(str, versions))}"
        yield Fact("Checks", f"{sum(results)} of {len(results)} passed", note, "good" if all(results) else "bad")


def _rollout(record: RunRecord) -> Iterator[Fact]:
    for rollout in record.rollouts[-1:]:
        reached = max((step.percent for step in rollout.steps), default=0)
        note = f"{rollout.canary}, reached {reached}{fmt.THIN}%" if rollout.kind == "canary" else rollout.canary
        yield Fact(kind(rollout), rollout.outcome, note, "good" if ended_well(rollout) else "bad")
        if cost := rollout.rollback:
            harmed = f"{fmt.count(cost.harmed)} requests harmed, {fmt.percent(cost.budget_share)} of the error budget"
            note = harmed if cost.requests else "copies only: nobody was harmed"
            yield Fact("Rollback", fmt.seconds(cost.reaction_s), note, "bad" if cost.harmed else "")


def _chaos(record: RunRecord) -> Iterator[Fact]:
    if record.chaos:
        broken = sum(any(case.invariants.values()) for case in record.chaos)
        note = f"{fmt.count(broken)} broke an invariant" if broken else "every invariant held"
        yield Fact(
            "Chaos",
            f"{fmt.count(len(record.chaos))} {'case' if len(record.chaos) == 1 else 'cases'}",
            note,
            "bad" if broken else "good",
        )


def _requests(record: RunRecord) -> Iterator[Fact]:
    if record.loads:
        lost = sum(load.unexplained for load in record.loads)
        failed = sum(summary.failed for load in record.loads for summary in load.latency)
        note = f"{fmt.count(failed)} failed, {fmt.count(lost)} unexplained"
        sent = fmt.count(sum(load.sent for load in record.loads))
        yield Fact("Requests", sent, note, "bad" if lost or failed else "good")


def _latency(record: RunRecord) -> Iterator[Fact]:
    found = [(summary, load) for load in record.loads[-1:] for summary in load.latency if summary.requests]
    if found:
        slowest, load = max(found, key=lambda pair: pair[0].p99_ms)
        note = f"slowest revision, {slowest.revision}"
        if load.distrust:
            yield Fact("Latency, p99", f"({fmt.milliseconds(slowest.p99_ms)})", "not to be trusted", "bad")
        else:
            yield Fact("Latency, p99", fmt.milliseconds(slowest.p99_ms), note)


def _drift(record: RunRecord) -> Iterator[Fact]:
    if record.drift:
        wrong = sum(surprising(window) for window in record.drift)
        judged = sum(window.expected is not None for window in record.drift)
        drifted = sum(window.drifted for window in record.drift)
        value = f"{judged - wrong} of {judged} as expected" if judged else f"{drifted} of {len(record.drift)} windows"
        note = "; ".join(f"{window.window.partition(':')[0]}: {verdict(window)}" for window in record.drift)
        yield Fact("Drift", value, note if judged else "", "bad" if wrong else "good" if judged else "")


def _loop(record: RunRecord) -> Iterator[Fact]:
    for last in record.rounds[-1:]:
        took = last.ended_at - began(last) if last.ended_at else record.started_at + record.duration_s - began(last)
        note = f"{fmt.count(len(record.rounds))} rounds" if len(record.rounds) > 1 else f"after {fmt.seconds(took)}"
        yield Fact("Closed loop", last.outcome, note, "good" if helped(last) else "bad")


def _duration(record: RunRecord) -> Iterator[Fact]:
    memory = f"peak memory {fmt.count(record.peak_memory_mb)}{fmt.THIN}MB" if record.peak_memory_mb else ""
    yield Fact("Duration", fmt.seconds(record.duration_s), memory)


def cases(record: RunRecord) -> list[ChaosCase]:
    """Chaos cases, those that broke an invariant first."""
    return sorted(record.chaos, key=lambda case: not any(case.invariants.values()))


def invariants(record: RunRecord) -> list[tuple[str, int, int]]:
    """(invariant, cases in which it held, cases that checked it)."""
    names = dict.fromkeys(name for case in record.chaos for name in case.invariants)
    checked = {name: [case.invariants[name] for case in record.chaos if name in case.invariants] for name in names}
    return [(name, broken.count(""), len(broken)) for name, broken in checked.items()]


def span_s(record: RunRecord) -> float:
    """The length of the timeline's axis."""
    return max([record.duration_s, *(step.started_at + step.duration_s - record.started_at for step in record.steps)])


def gantt(record: RunRecord, step: Step) -> str:
    return bar(step.started_at - record.started_at, step.duration_s, span_s(record), step.status.value)


def gantt_ticks(record: RunRecord) -> list[tuple[str, float]]:
    """(label, percent from the left) along the timeline."""
    span = span_s(record)
    if span <= 0:
        return []
    return [(f"{fmt.number(tick)}{fmt.THIN}s", tick / span * 100) for tick in ticks(0.0, span) if tick <= span]


def keys(record: RunRecord) -> dict[str, int]:
    """Each revision's colour and dash, the same in every chart of the page."""
    names: dict[str, int] = {}
    for rollout in record.rollouts:
        for name in (rollout.baseline, rollout.canary):
            names.setdefault(name, len(names))
    for load in record.loads:
        for summary in load.latency:
            names.setdefault(summary.revision, len(names))
    return names


def trials_chart(run: PipelineRun, name: str) -> str:
    points = [(float(trial.number), trial.value) for trial in run.trials if math.isfinite(trial.value)]
    lower = any(trial.best and trial.value < max((value for _, value in points), default=0.0) for trial in run.trials)
    running = accumulate((value for _, value in points), min if lower else max)
    best = [(x, value) for (x, _), value in zip(points, running, strict=True)]
    return chart(
        [Line("trial", points, 0, "dots"), Line("best so far", best, 1, "steps")],
        name=name, title="Value by trial", x=Axis("trial", from_zero=False), y=Axis("value", from_zero=False),
    )  # fmt: skip


def columns_of(rows: list[dict[str, Any]]) -> list[str]:
    """The union of the rows' keys, in order of first appearance."""
    return list(dict.fromkeys(key for row in rows for key in row))
