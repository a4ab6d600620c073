"""What the page of a run's loads says: verdicts against the SLO first, then figures, the distribution, the capacity."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from harness.report import _format as fmt
from harness.report._view import Fact
from harness.report.plots import Axis, Line, Mark, chart
from harness.report.record import CapacityRecord, CapacityStep, GuardVerdict, LatencySummary, LoadRecord, RunRecord

NINES = 6  # the spectrum ends at 99.9999 %
TRIED = {"kept": "passed", "broken": "failed", "open": "skipped", "withheld": "interrupted"}


@dataclass(frozen=True)
class Said:
    """A verdict: the status that colours it, a badge's words, and a sentence."""

    status: str
    badge: str
    words: str


def guards(load: LoadRecord) -> list[GuardVerdict]:
    return [guard for guard in (load.errors_verdict, load.latency_verdict) if guard is not None]


def verdict(load: LoadRecord) -> Said:
    """Of one load against its SLO; what cannot be trusted or explained weighs more than any guard."""
    broken = [guard for guard in guards(load) if guard.decision == "roll back"]
    if load.unexplained:
        return Said("failed", "unexplained", f"{fmt.count(load.unexplained)} requests are unexplained.")
    if broken:
        return Said("failed", "breaks the SLO", " ".join(map(told, broken)))
    if load.distrust:
        return Said("interrupted", "withheld", f"Latencies are not to be trusted: {load.distrust}.")
    if not guards(load):
        return Said("skipped", "no SLO", "No SLO was given for it, so nothing is judged.")
    if all(guard.decision == "promote" for guard in guards(load)):
        return Said("passed", "keeps the SLO", " ".join(map(told, guards(load))))
    left = [guard for guard in guards(load) if guard.decision != "promote"]
    return Said("skipped", "not enough evidence", " ".join(map(told, left)))


def told(guard: GuardVerdict) -> str:
    """One guard in a sentence."""
    what = "failed" if guard.slower_than_ms is None else f"took longer than {guard.slower_than_ms:g}{fmt.THIN}ms"
    return (
        f"{fmt.count(guard.bad)} of {fmt.count(guard.requests)} requests {what} ({fmt.percent(guard.observed)}); "
        f"{fmt.bound(guard.bound)} may."
    )


_ORDER = ("failed", "interrupted", "skipped", "passed")


def worst(record: RunRecord) -> Said:
    """The verdict over all loads of a run: the worst of them, with the load's name if there are several."""
    found = [(verdict(load), load.name) for load in record.loads]
    said, name = min(found, key=lambda pair: _ORDER.index(pair[0].status))
    return said if len(found) == 1 else Said(said.status, said.badge, f"{name}: {said.words}")


def facts(load: LoadRecord) -> Iterator[Fact]:
    """The load's numbers in a row of tiles."""
    all_of = summary(load)
    failed = sum(each.failed for each in load.latency)
    tone = "bad" if load.unexplained or verdict(load).status == "failed" else ""
    rate = f"{fmt.number(load.target_rps)}{fmt.THIN}/s"
    shape = load.shape.words if load.shape and load.shape.words else f"{load.arrivals} arrivals"
    yield Fact("Offered", rate, shape)
    yield Fact("Achieved", f"{fmt.number(load.achieved_rps)}{fmt.THIN}/s", f"for {fmt.seconds(load.duration_s)}")
    yield Fact(
        "Requests", fmt.count(load.sent), f"{fmt.count(failed)} failed, {fmt.count(load.unexplained)} unexplained", tone
    )
    if all_of is not None:
        doubt = "not to be trusted" if load.distrust else ""
        for name, value in (("median", all_of.p50_ms), ("p99", all_of.p99_ms), ("p99.9", all_of.p999_ms)):
            if value:
                yield Fact(f"Latency, {name}", fmt.milliseconds(value), doubt, "bad" if doubt else "")
        yield Fact("Longest", fmt.milliseconds(all_of.max_ms), doubt, "bad" if doubt else "")
    if load.timeline is not None and load.timeline.in_flight:
        yield Fact("In flight", fmt.count(max(load.timeline.in_flight)), "at most")


def summary(load: LoadRecord) -> LatencySummary | None:
    """Of all requests; of a run from before that was recorded, its only revision's."""
    return load.overall or (load.latency[0] if len(load.latency) == 1 else None)


def summaries(load: LoadRecord) -> list[LatencySummary]:
    """A row for each revision, and the last one for all of them."""
    return [*load.latency, *([load.overall] if load.overall and len(load.latency) > 1 else [])]


def spectrum(load: LoadRecord, name: str, known: dict[str, int]) -> str:
    """Latency by percentile, on an axis that gives each further nine the same room, from the HDR histograms."""
    spare = len(known)
    lines = [
        Line(each.revision, _nines(each.histogram), known.get(each.revision, spare + index))
        for index, each in enumerate(summaries(load))
        if each.histogram
    ]
    values = [value for line in lines for _, value in line.points]
    if not values:
        return ""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)) + 1e-9)
    end = math.ceil(max(at for line in lines for at, _ in line.points))
    marks = [Mark(nines, words) for nines, words in _PERCENTILES if nines <= end]
    return chart(
        lines, name=name, title="Latency by percentile, from the HDR histograms",
        x=Axis("nines of the percentile", "nines", ends=(0.0, float(max(1, end)))),
        y=Axis("latency", "ms", span=(low, max(high, low + 1))), marks=marks,
    )  # fmt: skip


_PERCENTILES = (
    (-math.log10(0.5), "median"),
    *((float(nines), f"{100 - 10.0 ** (2 - nines):g}{fmt.THIN}%") for nines in range(1, NINES + 1)),
)


def _nines(histogram: str) -> list[tuple[float, float]]:
    from harness.load.hdr import decode
    from harness.load.histogram import Histogram

    found = Histogram.of(decode(histogram)).spectrum()
    return [(-math.log10(1 - share / 100), ms) for share, ms in found if share < 100 and ms > 0]


_SHOWN: dict[str, int | str] = {"kept": "good", "broken": "bad", "open": 1, "withheld": 3}


def capacity_chart(capacity: CapacityRecord, name: str) -> str:
    """Every rate that was tried, in order, by what it showed."""
    steps = list(enumerate(capacity.steps, 1))
    lines = [
        Line(decision, [(float(at), step.rate) for at, step in steps if step.decision == decision], key, "dots")
        for decision, key in _SHOWN.items()
    ]
    limits = ((capacity.capacity_rps, "keeps the SLO"), (capacity.broken_rps, "breaks it"))
    marks = [Mark(rate, f"{fmt.number(rate)}{fmt.THIN}/s {words}", "y") for rate, words in limits if rate is not None]
    x = Axis("step", ends=(0.5, len(capacity.steps) + 0.5))
    return chart(lines, name=name, title="Rates that were tried", x=x, y=Axis("rate", "1/s"), marks=marks)


def tried(step: CapacityStep) -> str:
    """Why a rate was judged so; the guard that decided if nothing else is said."""
    return step.reason or " ".join(told(guard) for guard in step.guards)
