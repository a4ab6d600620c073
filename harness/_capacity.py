"""Carries out a capacity search: a load for each probe, looked at while it runs, ended once it has shown enough."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.errors import WaitTimeout
from harness.lifecycle.capacity import End, Probe, Search, following, goes_on, judge, record
from harness.lifecycle.probe import Answers, Seen, known, settled
from harness.load import Load
from harness.load.latency import failed
from harness.load.records import RECORD_FIELDS
from harness.load.shapes import Steady
from harness.offering import Manner, Offering
from harness.report.record import CapacityRecord, CapacityStep, Step
from harness.run import Run
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait

LOOK_EVERY_S = 0.5


def find_capacity(offering: Offering, run: Run, search: Search, manner: Manner) -> CapacityRecord:
    """Search by loads on an offering; the run's record has the search, and the loads that confirmed."""
    steps: list[CapacityStep] = []
    began = time.monotonic()
    with run.step("capacity", f"Find the capacity of {offering.service}") as shown:
        while isinstance(probe := following(search, steps, time.monotonic() - began), Probe):
            _show(run, shown, probe, steps)
            steps.append(_probed(offering, run, search, probe, manner))
        found = record(search, offering.service, steps, probe, time.monotonic() - began)
        run.record.capacity.append(found)
        shown.detail = f"{found.reason}; {len(steps)} rates in {found.duration_s:.0f} s"
    assert isinstance(probe, End)
    return found


def _show(run: Run, shown: Step, probe: Probe, steps: list[CapacityStep]) -> None:
    before = f"{steps[-1].rate:g}/s {steps[-1].decision} (p99 {steps[-1].p99_ms:.3g} ms); " if steps else ""
    run.progress(shown.name, f"{before}now {probe.rate:g}/s, to {probe.purpose}")


def _probed(offering: Offering, run: Run, search: Search, probe: Probe, manner: Manner) -> CapacityStep:
    """One probe; its load stays in the record if it was to confirm."""
    started_at, began = time.time(), time.monotonic()
    with offering.load(Steady(probe.rate), manner, max_s=probe.most_s + 60) as load:
        decision, seen, guards = _watched(load, search, probe)
    name = run.record.loads[-1].name
    if probe.purpose == "seek":
        ledger = run.folder / run.record.loads.pop().ledger
        ledger.unlink(missing_ok=True)
    return CapacityStep(
        rate=probe.rate,
        purpose=probe.purpose,
        started_at=started_at,
        duration_s=time.monotonic() - began,
        requests=seen.requests,
        failed=seen.failed,
        slow=seen.slow,
        effective=seen.effective,
        p50_ms=seen.p50_ms,
        p99_ms=seen.p99_ms,
        guards=guards,
        decision=decision,
        reason=seen.withheld,
        load=name if probe.purpose == "confirm" else "",
    )


def _watched(load: Load, search: Search, probe: Probe) -> tuple[Any, Seen, Any]:
    """Look twice a second until it is decided, hopeless, or the time is up."""
    began, bound_ms = time.monotonic(), search.slo.slower_than_ms
    found: list[Any] = []

    def enough() -> bool:
        seen = settled(answers_of(load, bound_ms), search.slo, load.withheld(bound_ms))
        decision, guards = judge(search, probe.purpose, seen)
        found[:] = [decision, seen, guards]
        return not goes_on(search, probe, time.monotonic() - began, decision, guards)

    with suppress(WaitTimeout):
        what = f"evidence at {probe.rate:g} requests a second"
        wait(enough, what=what, deadline=Deadline.after(probe.most_s + 5), every_s=LOOK_EVERY_S)
    return found[0], found[1], found[2]


def answers_of(load: Load, bound_ms: float) -> Answers:
    """What is known of a running load's requests; one that was not sent counts as failed and as slow.

    The moment is that of the last answer that every generator process has written down: what ended before it is there.
    """
    import numpy as np

    shares = [_requests(load.files.records(share)) for share in range(load.spec.shares)]
    ends = [(rows["intended_us"] + rows["latency_us"])[rows["mark"] > 0].max(initial=0) for rows in shares]
    rows = np.concatenate(shares)
    rows = rows[np.argsort(rows["intended_us"], kind="stable")]
    bad = failed(rows)
    latency_ms = np.where(rows["status"] == 0, np.inf, rows["latency_us"] / 1e3)
    return known(Answers(rows["intended_us"] / 1e6, latency_ms, bad), min(ends) / 1e6, bound_ms)


def _requests(records: Path) -> Any:
    """One share's records up to the last that has ended; those before it that have not are without an answer."""
    import numpy as np

    rows = np.fromfile(records, np.dtype(list(RECORD_FIELDS)))
    ended = np.flatnonzero(rows["mark"])
    if len(ended):
        rows["intended_us"] = np.interp(np.arange(len(rows)), ended, rows["intended_us"][ended])
    return rows
