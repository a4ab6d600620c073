"""Accounts for a load that has ended, block by block: the ledger, its Parquet file, latencies and the audit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from harness.load.access_log import EXAMPLES, AccessLogTail
from harness.load.audit import distrust
from harness.load.blocks import Block, blocks
from harness.load.join import Joined, around_death, classify, classify_alone, join
from harness.load.latency import Latencies, left
from harness.load.ledger import Ledger
from harness.load.records import LoadFiles, read_json
from harness.load.table import columns, table
from harness.load.timeline import Timeline, step_of
from harness.report.record import GuardVerdict, ShapeRecord

if TYPE_CHECKING:
    from harness.lifecycle.slo import SLO
    from harness.load.spec import LoadSpec

PROMISE = 1e-3  # alpha and beta of the verdicts on errors and latency
NO_LOG = "the client lost its record of it"
STRANGER = "the gateway saw it, the client does not know it"


@dataclass
class Tally:
    """What is counted over all blocks."""

    classes: Counter[str] = field(default_factory=Counter)
    odd: int = 0
    examples: list[str] = field(default_factory=list)
    retried: int = 0
    mirrored: int = 0
    unlogged: int = 0
    timed: int = 0
    slow: int = 0


def account(
    spec: LoadSpec,
    files: LoadFiles,
    log: AccessLogTail,
    path: Path,
    deaths: Sequence[float] = (),
    slo: SLO | None = None,
) -> Ledger:
    """The ledger of a load whose processes have ended; `deaths`: when the gateway died, in Unix seconds."""
    finished = [read_json(files.finished(share)) for share in range(spec.shares)]
    started_at = float(read_json(files.go)["started_at"])
    scheduled, deaths_us = [each["requests"] for each in finished], since(started_at, deaths)
    duration_s = max(float(each["duration_s"]) for each in finished)
    tally, latencies, timeline = Tally(), Latencies(), Timeline(step_of(duration_s))
    with table(path) as write:
        for block in blocks(files, scheduled, log.revisions):
            known, names, flags = block.known(), log.revisions.listed(), log.flags.listed()
            joined = join(known, names, flags, deaths_us, classify if log.at_hand else classify_alone)
            _count(tally, known, joined, slo)
            _note_unknown(tally, block)
            latencies.add(known.records)
            timeline.add(known, joined, _complete_s(known, spec.shares))
            write(columns(known, joined, names, flags, spec.users))
    _note_strangers(tally, log)
    names = log.revisions.listed()
    delay_p50, delay_p99 = latencies.delay.percentiles_ms((50, 99))
    cpu, overall = max(float(each["cpu"]) for each in finished), latencies.overall()
    doubt = distrust(delay_p99, overall.p99_ms, cpu)
    return Ledger(
        name=spec.name,
        target_rps=spec.shape.mean_rps,
        shape=_shape(spec),
        sent=sum(tally.classes.values()),
        classes=dict(tally.classes.most_common()),
        unexplained=tally.odd,
        examples=tuple(tally.examples),
        latency=latencies.summaries(names),
        overall=overall,
        timeline=timeline.finished(names, [each.get("cpu_by_second", ()) for each in finished]),
        started_at=started_at,
        duration_s=duration_s,
        achieved_rps=latencies.achieved_rps,
        schedule_delay_p50_ms=delay_p50,
        schedule_delay_p99_ms=delay_p99,
        path=path,
        arrivals=spec.arrivals,
        processes=spec.processes,
        workers=spec.workers,
        users=spec.users,
        retried=tally.retried,
        mirrored=tally.mirrored,
        unlogged=tally.unlogged if log.at_hand else 0,
        generator_cpu=cpu,
        distrust=doubt,
        joined=log.at_hand,
        latency_verdict=None if doubt or slo is None else latency_verdict(tally.timed, tally.slow, slo),
        errors_verdict=None if slo is None else errors_verdict(overall.requests, overall.failed, slo),
    )


def _shape(spec: LoadSpec) -> ShapeRecord:
    shape = spec.shape
    told = {"kind": shape.kind, "parameters": shape.parameters(), "duration_s": shape.duration_s}
    return ShapeRecord.model_validate({**told, "words": shape.words()})


def since(started_at: float, times: Sequence[float]) -> list[int]:
    """Unix times in microseconds from the load's origin."""
    return [int((time - started_at) * 1e6) for time in times]


def missing_lines(files: LoadFiles, log: AccessLogTail, scheduled: Sequence[int], deaths_us: Sequence[int]) -> int:
    """How many requests the gateway should still write a line for; what died with it is not waited for."""
    return sum(
        int((left(known.records) & (known.entries["mark"] == 0) & ~around_death(known.records, deaths_us)).sum())
        for known in (block.known() for block in blocks(files, scheduled, log.revisions))
    )


def latency_verdict(timed: int, slow: int, slo: SLO) -> GuardVerdict:
    """Whether at most slo.slow of the requests took longer than slo.slower_than_ms, as seen by the clients."""
    return _verdict("slow", timed, slow, slo.slow).model_copy(update={"slower_than_ms": slo.slower_than_ms})


def errors_verdict(requests: int, failed: int, slo: SLO) -> GuardVerdict:
    """Whether at most slo.errors of the requests failed, as seen by the clients."""
    return _verdict("errors", requests, failed, slo.errors)


def _verdict(guard: str, requests: int, bad: int, bound: float) -> GuardVerdict:
    from harness.lifecycle.evidence import evidence_bad, evidence_good

    kept, broken = float(evidence_good(requests, bad, bound)), float(evidence_bad(requests, bad, bound))
    decided = "roll back" if broken >= 1 / PROMISE else "promote" if kept >= 1 / PROMISE else "not enough evidence"
    return GuardVerdict.model_validate(
        {
            "guard": guard,
            "bound": bound,
            "observed": bad / requests if requests else 0.0,
            "requests": requests,
            "bad": bad,
            "evidence_good": kept,
            "evidence_bad": broken,
            "promote_at": 1 / PROMISE,
            "roll_back_at": 1 / PROMISE,
            "decision": decided,
        }
    )


def _note_unknown(tally: Tally, block: Block) -> None:
    """Requests that the generator made and has no record of, and those that only the gateway knows."""
    import numpy as np

    unknown = block.records["mark"] == 0
    seen = (block.entries["mark"] > 0) | (block.copies["mark"] > 0)
    for rows, why in ((unknown & block.scheduled, NO_LOG), (unknown & ~block.scheduled & seen, STRANGER)):
        found = block.first + np.flatnonzero(rows)
        _note(tally, len(found), (f"request {number}: {why}" for number in found[:EXAMPLES]))


def _note_strangers(tally: Tally, log: AccessLogTail) -> None:
    _note(tally, log.strangers, (f"request {number}: {STRANGER}" for number in log.examples))


def _note(tally: Tally, count: int, examples: Iterator[str]) -> None:
    tally.odd += count
    tally.examples += list(examples)[: EXAMPLES - len(tally.examples)]


def _count(tally: Tally, known: Block, joined: Joined, slo: SLO | None) -> None:
    import numpy as np

    counts = np.bincount(joined.classes, minlength=len(joined.class_names))
    tally.classes.update({name: int(count) for name, count in zip(joined.class_names, counts, strict=True) if count})
    odd = np.flatnonzero(joined.whys)
    examples = (f"request {known.sequences[row]}: {joined.why_names[joined.whys[row]]}" for row in odd[:EXAMPLES])
    _note(tally, len(odd), examples)
    logged = known.entries["mark"] > 0
    tally.retried += int((known.entries["attempts"] > 1).sum())
    tally.mirrored += int((known.copies["mark"] > 0).sum())
    tally.unlogged += int((~logged & (known.records["status"] > 0) & (joined.whys == 0)).sum())
    if slo is not None:
        sent = left(known.records)
        tally.timed += int(sent.sum())
        tally.slow += int((sent & (known.records["latency_us"] > slo.slower_than_ms * 1000)).sum())


def _complete_s(known: Block, shares: int) -> int:
    """The second that every process of the generator has reached at the end of this block."""
    of_share = [known.records["intended_us"][known.sequences % shares == share] for share in range(shares)]
    return min((int(times[-1]) // 1_000_000 for times in of_share if len(times)), default=0)
