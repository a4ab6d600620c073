"""Of a run record: a load, where its requests went, and its latencies over time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, model_validator

from harness.report.record._base import Number, Record
from harness.report.record.verdict import GuardVerdict


class LatencySummary(Record):
    """Latency percentiles of one revision over one load, or of all ("all"), in milliseconds from the intended send."""

    revision: str
    requests: int
    failed: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    p999_ms: float = 0.0
    histogram: str = Field(
        default="",
        description="of the answered requests in us: HdrHistogram's V2 encoding, compressed, in base64; "
        "harness.load.hdr decodes it",
    )


class ShapeRecord(Record):
    """How the offered rate ran: the shape's own parameters, in requests a second and seconds."""

    kind: str = Field(description="steady, step, ramp, spike, soak, diurnal or replay")
    parameters: dict[str, float | str | list[float]] = {}
    duration_s: float | None = Field(default=None, description="None: as long as the block lasts")
    words: str = Field(default="", description="one line for a reader")


class RevisionTimeline(Record):
    """One revision's columns of a load's timeline."""

    requests: list[int]
    failed: list[int]
    p50_ms: list[Number] = Field(description="null where none was answered")
    p99_ms: list[Number]


class LoadTimeline(Record):
    """A load by time, in columns: entry k is about the seconds from k * step_s to (k + 1) * step_s of the load.

    Requests count where they were due (`offered`, `failed`, latencies, revisions), where they left (`sent`) and where
    their answer came (`answered`). Latencies are of the answered, from the intended send; null where there are none.
    """

    step_s: int = Field(default=1, description="whole seconds; 1 for a load of up to an hour")
    offered: list[int]
    sent: list[int] = []
    answered: list[int] = Field(default=[], description="with whatever status")
    failed: dict[str, list[int]] = Field(description='class ("status 503", "refused:UH", ...) -> requests')
    in_flight: list[int] = Field(default=[], description="at the end of the entry")
    p50_ms: list[Number] = []
    p90_ms: list[Number] = []
    p99_ms: list[Number] = []
    p999_ms: list[Number] = []
    max_ms: list[Number] = []
    delay_p99_ms: list[Number] = Field(default=[], description="by how much the generator itself sent late")
    generator_cpu: list[Number] = Field(default=[], description="share of a core, the busiest generator process")
    server_cpu: dict[str, list[Number]] = Field(default={}, description="component or revision -> cores used")
    revisions: dict[str, RevisionTimeline] = {}


class LoadRecord(Record):
    """One load: what was offered, what was achieved, and where every request went."""

    name: str
    service: str
    target_rps: float
    achieved_rps: float
    started_at: float
    duration_s: float
    sent: int
    classes: dict[str, int] = Field(description="ledger class -> requests; the values add up to `sent`")
    unexplained: int
    latency: list[LatencySummary]
    timeline: LoadTimeline | None = None
    shape: ShapeRecord | None = None
    overall: LatencySummary | None = Field(default=None, description="of all requests, whoever answered")
    reproduce: str = Field(default="", description="the command that offers this load again, for a shell")
    arrivals: Literal["constant", "poisson"] = "constant"
    processes: int = 1
    workers: int = Field(default=0, description="Pods of a cluster that sent it, if not processes of this machine")
    users: int = Field(default=0, description="simulated users, named in x-user-id; 0 if requests carry no user")
    retried: int = Field(default=0, description="requests that the gateway sent more than once")
    unlogged: int = Field(default=0, description="answers whose line in the gateway's log died with the gateway")
    mirrored: int = Field(default=0, description="copies given to a shadow, each matched to its request")
    schedule_delay_p50_ms: float = 0.0
    schedule_delay_p99_ms: float = Field(default=0.0, description="how late the generator itself was")
    generator_cpu: float = Field(default=0.0, description="share of a core that the busiest generator process used")
    distrust: str = Field(default="", description="why the latencies cannot be trusted; empty if they can")
    latency_verdict: GuardVerdict | None = Field(
        default=None, description="slow requests, from the intended send, against the load's SLO; None: none asked for"
    )
    errors_verdict: GuardVerdict | None = Field(
        default=None, description="failed requests against the load's SLO; None: none was asked for"
    )
    joined: bool = Field(default=True, description="whether the gateway's log was at hand; else the client's word")
    ledger: str = Field(description="path of the Parquet ledger, relative to the run folder")

    @model_validator(mode="before")
    @classmethod
    def _older(cls, data: Any) -> Any:
        """A run.json of before the timeline has `series`: an entry a second and revision."""
        if isinstance(data, dict) and "series" in data:
            data = {"timeline": timeline_of(data["series"]), **data}
            del data["series"]
        return data

    def failed_seconds(self) -> list[int]:
        """The ends of the entries of the timeline in which a request failed, in seconds from the load's start."""
        if self.timeline is None:
            return []
        columns = zip(*self.timeline.failed.values(), strict=True)
        return [self.timeline.step_s * (entry + 1) for entry, failed in enumerate(columns) if any(failed)]


def timeline_of(series: Sequence[Mapping[str, Any]]) -> LoadTimeline | None:
    """What entries of t_s, revision, requests, failed, p50_ms and p99_ms tell; the other columns are empty."""
    cells = {(int(entry["t_s"]), str(entry["revision"])): entry for entry in series}
    if not cells:
        return None
    seconds = range(max(second for second, _ in cells) + 1)

    def column(revision: str, field: str, missing: float) -> list[Any]:
        return [cells.get((second, revision), {}).get(field, missing) for second in seconds]

    revisions = {
        name: RevisionTimeline(
            requests=[int(each) for each in column(name, "requests", 0)],
            failed=[int(each) for each in column(name, "failed", 0)],
            p50_ms=column(name, "p50_ms", math.nan),
            p99_ms=column(name, "p99_ms", math.nan),
        )
        for name in sorted({name for _, name in cells})
    }
    return LoadTimeline(
        offered=[sum(counts) for counts in zip(*(each.requests for each in revisions.values()), strict=True)],
        failed={"failed": [sum(each) for each in zip(*(each.failed for each in revisions.values()), strict=True)]},
        revisions=revisions,
    )
