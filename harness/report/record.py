"""The run record: everything the report shows, as one versioned schema that is written to run.json.

Shares and probabilities are in [0, 1]; durations in seconds (`_s`) or milliseconds (`_ms`); times are Unix seconds
(`_at`). JSON has no NaN: where one is possible (`Number`) run.json has null, which is read as NaN.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Number = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_assignment=True)


class Status(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    RUNNING = "running"
    INTERRUPTED = "interrupted"


class Step(_Record):
    """One visible step of a run; `detail` is the one line that the progress display and the timeline show."""

    name: str
    title: str
    status: Status
    started_at: float
    duration_s: float = 0.0
    detail: str = ""
    error: str = ""
    hint: str = ""


class PipelineTask(_Record):
    """One task of a pipeline run; `cached` if its outputs came from the cache."""

    name: str
    status: Status
    cached: bool
    duration_s: float
    detail: str = ""


class Trial(_Record):
    """One hyper-parameter trial, a nested MLflow run; `best` is the one whose parameters were taken."""

    number: int
    params: dict[str, Any]
    value: Number
    run_id: str
    best: bool = False


class PipelineRun(_Record):
    name: str
    compiled: str = Field(description="path of the compiled KFP YAML, relative to the run folder")
    tasks: list[PipelineTask]
    trials: list[Trial] = []
    rows: int
    quarantined_rows: int
    quarantine_reasons: dict[str, int] = {}
    data_fingerprint: str
    duration_s: float
    runner: str = Field(default="local", description="who ran its steps: local (kfp.local), cluster (Jobs), trainer")


class ModelVersionRecord(_Record):
    """One registered model version."""

    name: str
    version: int
    run_id: str
    aliases: list[str] = []
    estimator: str
    params: dict[str, Any]
    metrics: dict[str, Number]
    features: list[str] = []
    code_version: str
    data_fingerprint: str
    plots: dict[str, str] = Field(default={}, description="title -> inline SVG")


class GateLine(_Record):
    """One line of the promotion gate, with the numbers it rests on."""

    name: str
    passed: bool | None = Field(description="None if there was nothing to judge by")
    observed: str
    required: str
    detail: str = ""


class GateRecord(_Record):
    model: str
    candidate: int
    champion: int | None
    passed: bool = Field(description="no line failed")
    lines: list[GateLine]

    @property
    def summary(self) -> str:
        """How many of the lines that were judged passed, and how many were not judged."""
        judged = [line.passed for line in self.lines if line.passed is not None]
        left_out = len(self.lines) - len(judged)
        return f"{sum(judged)} of {len(judged)} passed" + (f", {left_out} not judged" if left_out else "")


class SmokeRecord(_Record):
    """Served answers compared with the offline model's on held-out rows."""

    service: str
    rows: int
    protocols: list[str]
    mismatches: int
    largest_difference: Number


class RevisionCounts(_Record):
    """Requests that one revision answered in a window, as the gateway counted them."""

    revision: str
    requests: int
    failed: int = Field(description="4xx, 5xx, connection failures and timeouts")
    slow: int
    timed: int = Field(default=0, description="requests whose latency is known; `slow` are among these")
    routed: int = Field(default=0, description="requests given to it, answered or not: what the split is judged by")


class GuardVerdict(_Record):
    """One guard's sequential test: the bound, the counts, the evidence, the decision."""

    guard: str
    bound: float
    observed: float
    requests: int
    bad: int
    evidence_good: float = Field(description="e-value against 'the bound is broken'; promotes at 1/beta")
    evidence_bad: float = Field(description="e-value against 'the bound is kept'; rolls back at 1/alpha")
    promote_at: float = Field(default=1e3, description="1/beta: the evidence_good at which this guard promotes")
    roll_back_at: float = Field(default=1e3, description="1/alpha: the evidence_bad at which this guard rolls back")
    decision: Literal["promote", "roll back", "not enough evidence"]
    slower_than_ms: float | None = Field(default=None, description="what counts as slow, where that is what is guarded")


class RolloutStep(_Record):
    """One weight of a rollout and the verdict that ended it."""

    percent: int
    started_at: float
    duration_s: float
    decision: str
    reason: str
    guards: list[GuardVerdict]
    counts: list[RevisionCounts]


class EvidencePoint(_Record):
    """One guard's e-values at one look, for the drawing of evidence over time."""

    t_s: float = Field(description="seconds since the rollout began")
    percent: int
    guard: str
    good: float
    bad: float


class RollbackCost(_Record):
    """What a canary that was rolled back had cost; times are Unix seconds."""

    first_bad_at: float | None = Field(description="the first look at which a request of the canary was bad")
    decided_at: float
    effective_at: float = Field(description="when the gateway had stopped giving it requests")
    harmed: int = Field(description="requests of the canary that failed or were slow")
    requests: int = Field(description="requests of both revisions during the rollout")
    budget_share: float = Field(description="harmed over what the SLO's bounds allow of `requests`")

    @property
    def reaction_s(self) -> float:
        """From the first bad answer that was seen to no traffic for the canary."""
        return self.effective_at - (self.decided_at if self.first_bad_at is None else self.first_bad_at)


class Effect(_Record):
    """An A/B test's difference (canary minus baseline) in one proportion, with an interval that is always valid."""

    metric: str
    baseline: float
    canary: float
    difference: float
    low: float
    high: float
    confidence: float


class AnswersRecord(_Record):
    """Predictions of both revisions, compared by distribution and, for mirrored copies, one by one."""

    baseline: int = Field(description="predictions counted")
    canary: int
    compared: int = Field(default=0, description="mirrored copies whose answer was held against the baseline's")
    agreed: int = 0
    cuts: list[float] = Field(default=[], description="the baseline's deciles, at which the distributions are compared")
    baseline_below: list[int] = Field(default=[], description="predictions at or below each cut")
    canary_below: list[int] = []
    shift: float = Field(default=0.0, description="largest difference of the two distribution functions at the cuts")


class Approval(_Record):
    """A manual gate of a rollout and what a person said to it."""

    percent: int
    asked_at: float
    answered_at: float | None
    answer: Literal["approved", "refused", "nobody answered"]
    by: str = ""


class RolloutRecord(_Record):
    service: str
    kind: Literal["canary", "ab", "blue-green", "shadow"] = "canary"
    policy: str
    baseline: str
    canary: str
    outcome: str
    reason: str
    steps: list[RolloutStep]
    started_at: float = 0.0
    duration_s: float
    split: dict[str, Any] = {}
    evidence: list[EvidencePoint] = []
    rollback: RollbackCost | None = None
    effects: list[Effect] = []
    answers: AnswersRecord | None = None
    approvals: list[Approval] = []
    resumed: int = Field(default=0, description="how often it went on after its process had died")


class ChaosCase(_Record):
    """One fault in one phase of one policy's rollout, and which invariants held."""

    policy: str
    phase: str
    fault: str
    outcome: str
    invariants: dict[str, str] = Field(description='invariant -> what broke it; "" where it held')
    duration_s: float
    rollback_s: float | None = Field(default=None, description="first bad answer to no traffic, if rolled back")
    budget_share: float | None = Field(default=None, description="share of the error budget that the rollback cost")
    detail: str = ""


class LatencySummary(_Record):
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


class ShapeRecord(_Record):
    """How the offered rate ran: the shape's own parameters, in requests a second and seconds."""

    kind: str = Field(description="steady, step, ramp, spike, soak, diurnal or replay")
    parameters: dict[str, float | str | list[float]] = {}
    duration_s: float | None = Field(default=None, description="None: as long as the block lasts")
    words: str = Field(default="", description="one line for a reader")


class RevisionTimeline(_Record):
    """One revision's columns of a load's timeline."""

    requests: list[int]
    failed: list[int]
    p50_ms: list[Number] = Field(description="null where none was answered")
    p99_ms: list[Number]


class LoadTimeline(_Record):
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


class LoadRecord(_Record):
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


class CapacityStep(_Record):
    """One rate that a capacity search tried, and what it saw there after the load had settled."""

    rate: float = Field(description="requests a second that were offered")
    purpose: Literal["seek", "confirm"]
    started_at: float
    duration_s: float
    requests: int = Field(description="judged: those that were due after the load had settled")
    failed: int
    slow: int
    effective: float = Field(description="requests that count as independent: correlated ones tell less")
    p50_ms: Number = Field(description="null where none was answered")
    p99_ms: Number
    guards: list[GuardVerdict]
    decision: Literal["kept", "broken", "open", "withheld"]
    reason: str = ""
    load: str = Field(default="", description="name of the load in `loads`, if it was kept there")


class CapacityRecord(_Record):
    """A capacity search: the highest rate that was shown to keep the SLO, and the lowest that was shown to break it."""

    service: str
    slo: dict[str, float] = Field(description="errors, slower_than_ms, slow")
    confidence: float = Field(description="with which `capacity_rps` keeps the SLO, over the whole search")
    precision: float = Field(description="how near, as a share, the two rates were to come")
    low_rps: float
    high_rps: float
    budget_s: float
    duration_s: float
    steps: list[CapacityStep]
    capacity_rps: float | None = Field(description="None: no rate was shown to keep the SLO")
    broken_rps: float | None = Field(description="None: none was shown to break it")
    reason: str = Field(description="one sentence: what ended the search")


class ScalingLook(_Record):
    """What was so at one moment, in seconds since the load began: the metric as the autoscaler saw it, the counts."""

    at_s: float
    metric: float | None
    desired: int
    ready: int


class ReactionTimes(_Record):
    """Seconds since the load began (`back_s`: since it ended) until something was so; None: it never was."""

    metric_s: float | None = Field(description="the autoscaler saw the metric above its target")
    decided_s: float | None = Field(description="more replicas were asked for")
    first_s: float | None = Field(description="one more was ready")
    ready_s: float | None = Field(description="as many as were ever asked for were ready")
    back_s: float | None = Field(description="the replicas were down to the least again")
    peak: int = Field(description="the most replicas that were asked for")


class ScalingRecord(_Record):
    """How a service scaled under one load, beside what the autoscaler's formula predicts for that load."""

    service: str
    metric: str
    target: float = Field(description="in `unit`, for each replica")
    unit: str = Field(default="%", description="of the metric: % of what the replicas request, or of requests")
    least: int
    most: int
    load: str
    rps: float
    load_s: float
    looks: list[ScalingLook]
    measured: ReactionTimes
    predicted_looks: list[ScalingLook] = []
    predicted: ReactionTimes | None = Field(default=None, description="None where the load showed too little")
    cpu_ms_per_request: float | None = Field(default=None, description="measured, and what the prediction assumes")
    start_s: float | None = Field(default=None, description="of a replica, measured, and what the prediction assumes")
    blocked: list[str] = Field(default=[], description="what kept replicas from starting")


class DriftColumn(_Record):
    column: str
    method: str
    score: Number
    threshold: float
    drifted: bool


class DriftRecord(_Record):
    """One window compared with the held-out reference: held-out rows that the control window did not draw."""

    window: str
    rows: int
    reference_rows: int
    drifted: bool
    expected: bool | None = Field(default=None, description="what the rehearsal expects of this window, if it does")
    where: str = Field(default="", description="the condition that its rows match, if it has one")
    share_drifted: float
    share_threshold: float
    columns: list[DriftColumn]
    html: str = Field(default="", description="path of Evidently's page, relative to the run folder")


class ComponentRecord(_Record):
    """One component: how long until ready (None: it was there, nobody started it), and where its log is."""

    name: str
    version: str
    ready_s: float | None
    address: str = ""
    log: str = ""


class Skip(_Record):
    """A step that was not done because a capability is missing, and how to get it."""

    step: str
    capability: str
    reason: str


class SeriesRecord(_Record):
    """One metric of the platform's Prometheus over the run."""

    name: str
    query: str
    unit: str
    points: dict[str, list[tuple[float, Number]]] = Field(description="label -> [(Unix seconds, value)]")


class EventRecord(_Record):
    """One line of the run's events.jsonl; `at` in Unix seconds."""

    at: float
    kind: str
    subject: str
    message: str
    level: str = "info"
    data: dict[str, Any] = {}


class ClusterFinding(_Record):
    """Something abnormal in a cluster: since when (Unix seconds), about which object, in words, and what to look at.

    `weight` in [0, 1] is how much of what went wrong it explains by itself; two findings `about` one thing are one.
    `lasting`: it was still so when it was looked at; else it happened once, `at`.
    """

    at: float
    namespace: str = Field(description='"" for what belongs to the whole cluster')
    object: str = Field(description='as kubectl takes it: "pod/iris-v2"')
    reason: str = Field(description="Kubernetes' word for it: FailedScheduling, OOMKilled")
    words: str
    because: str
    next: str
    weight: float
    about: str
    lasting: bool = False
    file: str = Field(default="", description="path of the object's description, relative to the run folder")


class UpstreamFinding(_Record):
    """A fault of a program that we did not write, shown by a rehearsal against one version of it."""

    program: str
    version: str
    title: str
    shown: str = Field(description="what was seen, with numbers")
    instead: str = Field(description="what the harness does about it")


class RunRecord(_Record):
    """All that one run did and found; the report renders from this alone."""

    schema_version: Literal[1] = 1
    run_id: str
    title: str
    backend: str
    command: str
    started_at: float
    duration_s: float = 0.0
    setup_s: float = Field(default=0.0, description="time from the command to the first step")
    status: Status = Status.RUNNING
    decided_by: str = Field(default="", description="one sentence: what decided the outcome")
    hint: str = Field(default="", description="the next command to run when the run failed")
    dataset: dict[str, Any] = {}
    steps: list[Step] = []
    pipelines: list[PipelineRun] = []
    models: list[ModelVersionRecord] = []
    gates: list[GateRecord] = []
    smoke: list[SmokeRecord] = []
    rollouts: list[RolloutRecord] = []
    loads: list[LoadRecord] = []
    capacity: list[CapacityRecord] = []
    scaling: list[ScalingRecord] = []
    chaos: list[ChaosCase] = []
    drift: list[DriftRecord] = []
    components: list[ComponentRecord] = []
    series: list[SeriesRecord] = []
    events: list[EventRecord] = Field(
        default=[], description="what happened around the first symptom of a run that did not pass"
    )
    cluster: list[ClusterFinding] = Field(
        default=[], description="what was abnormal in the cluster of a run that did not pass, the first first"
    )
    upstream: list[UpstreamFinding] = []
    skips: list[Skip] = []
    versions: dict[str, str] = {}
    environment: dict[str, Any] = {}
    peak_memory_mb: float = 0.0
    artifacts: dict[str, str] = Field(default={}, description="what a file in the run folder is -> its relative path")
