"""What the page says that the record does not spell out: the cause of a failure, headline facts, drawn series."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from harness.report import _format as fmt
from harness.report._axes import ticks
from harness.report._interval import exact_interval
from harness.report.plots import Axis, Line, bar, chart, interval, stack
from harness.report.record import (
    DriftRecord,
    LoadRecord,
    PipelineRun,
    RolloutRecord,
    RolloutStep,
    RunRecord,
    SeriesRecord,
    Status,
    Step,
)

CONFIDENCE = 0.999
TIME = Axis("time", "s", from_zero=False)


@dataclass(frozen=True)
class Fact:
    """One headline number; `tone` is "good", "bad" or "" and is also said by `mark`."""

    name: str
    value: str
    note: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Finding:
    """One piece of evidence for a run that did not pass, and the section that has the numbers."""

    text: str
    anchor: str


def cause(record: RunRecord) -> str:
    """The one sentence at the top: what decided the outcome, or the first thing that went wrong."""
    if record.decided_by:
        return record.decided_by
    found = list(findings(record))
    if found:
        return found[0].text
    return "Every step passed." if record.status is Status.PASSED else f"The run ended as {record.status.value}."


def findings(record: RunRecord) -> Iterator[Finding]:
    """What went wrong, most decisive first: verdicts, then lost requests and wrong answers, then broken steps."""
    for rollout in record.rollouts:
        if rollout.outcome != "promoted":
            yield from _rollout_findings(rollout)
    for gate in record.gates:
        for line in gate.lines:
            if line.passed is False:
                yield Finding(f"Gate, {line.name}: observed {line.observed}, required {line.required}.", "gate")
    for load in record.loads:
        if load.unexplained:
            yield Finding(f"Load {load.name}: {fmt.count(load.unexplained)} requests are unexplained.", "load")
    for smoke in record.smoke:
        if smoke.mismatches:
            text = f"{smoke.mismatches} of {smoke.rows} served answers differ from the offline model's."
            yield Finding(f"{smoke.service}: {text}", "staging")
    for window in record.drift:
        if surprising(window):
            yield Finding(
                f"Drift, {window.window}: {verdict(window)} although {expectation(window)} was expected.", "drift"
            )
    for step in record.steps:
        if step.status in (Status.FAILED, Status.INTERRUPTED, Status.RUNNING):
            yield Finding(f"{step.title}: {step.error or step.status.value}", "timeline")


def _rollout_findings(rollout: RolloutRecord) -> Iterator[Finding]:
    broken = [
        Finding(
            f"At {step.percent} %, {guard.guard}: {fmt.count(guard.bad)} of {fmt.count(guard.requests)} requests bad "
            f"({fmt.percent(guard.observed)} observed, {fmt.bound(guard.bound)} allowed); evidence "
            f"{fmt.number(guard.evidence_bad)}, a roll back needs {fmt.number(guard.roll_back_at)}.",
            "rollout",
        )
        for step in rollout.steps
        for guard in step.guards
        if guard.decision == "roll back"
    ]
    yield from broken or [Finding(f"Rollout of {rollout.canary}: {rollout.outcome}. {rollout.reason}", "rollout")]


def evidence(record: RunRecord) -> list[Finding]:
    """The findings for the page: a sentence that the top already says is not said twice."""
    if record.status is Status.PASSED:
        return []
    top = cause(record)
    return [finding for finding in findings(record) if not finding.text.endswith(top)]


def surprising(window: DriftRecord) -> bool:
    return window.expected is not None and window.expected != window.drifted


def verdict(window: DriftRecord) -> str:
    return "drift" if window.drifted else "no drift"


def expectation(window: DriftRecord) -> str:
    return "–" if window.expected is None else "drift" if window.expected else "no drift"


def facts(record: RunRecord) -> list[Fact]:
    """The numbers of the run in a row of tiles; only those that the run has."""
    return [fact for make in (_gate, _rollout, _requests, _latency, _drift, _duration) for fact in make(record)]


def _gate(record: RunRecord) -> Iterator[Fact]:
    for gate in record.gates[-1:]:
        versus = f"version {gate.candidate}" + (f" against {gate.champion}" if gate.champion is not None else "")
        yield Fact("Gate", gate.summary, versus, "good" if gate.passed else "bad")


def _rollout(record: RunRecord) -> Iterator[Fact]:
    for rollout in record.rollouts[-1:]:
        reached = max((step.percent for step in rollout.steps), default=0)
        tone = "good" if rollout.outcome == "promoted" else "bad"
        yield Fact("Canary", rollout.outcome, f"{rollout.canary}, reached {reached}{fmt.THIN}%", tone)


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
        slowest, _ = max(found, key=lambda pair: pair[0].p99_ms)
        yield Fact("Latency, p99", fmt.milliseconds(slowest.p99_ms), f"slowest revision, {slowest.revision}")


def _drift(record: RunRecord) -> Iterator[Fact]:
    if record.drift:
        wrong = sum(surprising(window) for window in record.drift)
        judged = sum(window.expected is not None for window in record.drift)
        value = f"{judged - wrong} of {judged} as expected" if judged else ", ".join(map(verdict, record.drift))
        note = "; ".join(f"{window.window.partition(':')[0]}: {verdict(window)}" for window in record.drift)
        yield Fact("Drift", value, note if judged else "", "bad" if wrong else "good" if judged else "")


def _duration(record: RunRecord) -> Iterator[Fact]:
    memory = f"peak memory {fmt.count(record.peak_memory_mb)}{fmt.THIN}MB" if record.peak_memory_mb else ""
    yield Fact("Duration", fmt.seconds(record.duration_s), memory)


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


def weight_chart(rollout: RolloutRecord, name: str, key: int) -> str:
    if not rollout.steps:
        return ""
    start = rollout.steps[0].started_at
    points = [(step.started_at - start, float(step.percent)) for step in rollout.steps]
    last = rollout.steps[-1]
    end = last.started_at + last.duration_s - start
    final = 100.0 if rollout.outcome == "promoted" else 0.0
    points += [(end, float(last.percent)), (end, final), (end * 1.04, final)]
    words = ", ".join(f"{step.percent} % for {fmt.seconds(step.duration_s)}" for step in rollout.steps)
    return chart(
        [Line(rollout.canary, points, key, "steps")],
        name=name, title=f"Share of traffic for {rollout.canary}", x=TIME, y=Axis("weight", "%", top=100.0),
        says=f"{words}; then {final:.0f} %.",
    )  # fmt: skip


@dataclass(frozen=True)
class Split:
    """One step's share of canary requests against the weight; the exact interval is drawn, `passed` is the record's.

    Shares are in [0, 1]; `passed` is None if the record does not judge this step.
    """

    percent: int
    hits: int
    total: int
    low: float
    high: float
    passed: bool | None

    @property
    def observed(self) -> float:
        return self.hits / self.total

    @property
    def drawn(self) -> str:
        return interval(self.low, self.high, self.observed, self.percent / 100, 1.0)


def split_of(rollout: RolloutRecord, step: RolloutStep) -> Split | None:
    """None at 100 %, where there is nothing to split, and for a step without requests."""
    total = sum(counts.requests for counts in step.counts)
    hits = sum(counts.requests for counts in step.counts if counts.revision == rollout.canary)
    if not total or step.percent == 100:
        return None
    judged = {round(100 * found["configured"]): found["passed"] for found in rollout.split.get("steps", [])}
    return Split(step.percent, hits, total, *exact_interval(hits, total, CONFIDENCE), judged.get(step.percent))


def load_charts(load: LoadRecord, name: str, known: dict[str, int]) -> list[str]:
    """Requests, median and 99th percentile over time, one line a revision."""
    plans = (
        ("requests", "Requests per second", "1/s"),
        ("p50_ms", "Median latency", "ms"),
        ("p99_ms", "99th percentile", "ms"),
    )
    drawn = [
        chart(
            _by_revision(load, field, known), name=f"{name}-{field}", title=title, x=TIME, y=Axis(title, unit)
        )
        for field, title, unit in plans
    ]  # fmt: skip
    return [svg for svg in drawn if svg]


def _by_revision(load: LoadRecord, field: str, known: dict[str, int]) -> list[Line]:
    found: dict[str, list[tuple[float, float]]] = {}
    for entry in load.series:
        if field in entry:
            found.setdefault(str(entry["revision"]), []).append((float(entry["t_s"]), float(entry[field])))
    spare = len(known)
    return [
        Line(revision, sorted(points), known.get(revision, spare + index))
        for index, (revision, points) in enumerate(sorted(found.items()))
    ]


def ledger_bar(load: LoadRecord, name: str) -> str:
    parts = [(label, float(number)) for label, number in load.classes.items()]
    return stack(parts, name=name, title=f"Where the requests of load {load.name} went")


def metric_chart(series: SeriesRecord, name: str, start: float, known: dict[str, int]) -> str:
    lines = [
        Line(label, [(at - start, value) for at, value in points], known.get(label, index))
        for index, (label, points) in enumerate(series.points.items())
    ]
    return chart(lines, name=name, title=series.name, x=TIME, y=Axis(series.name, series.unit))
