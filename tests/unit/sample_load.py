"""A run whose load was a step that a service scaled under, with a canary on the way, and a capacity search; seeded."""

from __future__ import annotations

import math

import numpy as np

from harness.load.hdr import encode
from harness.load.histogram import Histogram
from harness.report.record import (
    CapacityRecord,
    CapacityStep,
    GuardVerdict,
    LatencySummary,
    LoadRecord,
    LoadTimeline,
    ReactionTimes,
    RevisionTimeline,
    RunRecord,
    ScalingLook,
    ScalingRecord,
    ShapeRecord,
)
from tests.unit import sample_record
from tests.unit.sample_record import START

STEP_AT, LOW, HIGH = 0.25, 60, 240


def guard(name: str, bound: float, requests: int, bad: int, decision: str = "promote") -> GuardVerdict:
    good = {"promote": 4.1e6, "roll back": 1e-9}.get(decision, 12.0)
    told = {"guard": name, "bound": bound, "observed": bad / requests, "requests": requests, "bad": bad}
    found = {**told, "evidence_good": good, "evidence_bad": 1 / good, "decision": decision}
    return GuardVerdict.model_validate({**found, "slower_than_ms": 100.0 if name == "slow" else None})


def summary(revision: str, requests: int, failed: int, seed: int) -> LatencySummary:
    """With its histogram."""
    chance = np.random.default_rng(seed)
    taken = 4000 * np.exp(chance.normal(0, 0.45, requests)) + 200_000 * (chance.random(requests) < 0.002)
    histogram = Histogram()
    histogram.add(taken.astype(np.int64))
    p50, p90, p99, p999 = histogram.percentiles_ms((50, 90, 99, 99.9))
    return LatencySummary(
        revision=revision, requests=requests, failed=failed, p50_ms=p50, p90_ms=p90, p99_ms=p99, p999_ms=p999,
        max_ms=histogram.largest / 1e3, histogram=encode(histogram.counts),
    )  # fmt: skip


def timeline(seconds: int) -> LoadTimeline:
    """A step to four times the rate: latencies rise until more replicas are ready, a few requests fail."""
    chance = np.random.default_rng(6)
    step = int(seconds * STEP_AT)
    offered = [LOW if second < step else HIGH for second in range(seconds)]
    pressed = [
        1.0 + 9.0 * max(0.0, 1 - (second - step) / (0.2 * seconds)) * (second >= step) for second in range(seconds)
    ]
    p50 = [4.0 * press * chance.uniform(0.9, 1.1) for press in pressed]
    failed = [chance.poisson(3) if press > 6 else 0 for press in pressed]
    share = [0.0 if second < 0.6 * seconds else 0.1 for second in range(seconds)]
    canary = [round(rate * part) for rate, part in zip(offered, share, strict=True)]
    baseline = [rate - part for rate, part in zip(offered, canary, strict=True)]

    def revision(requests: list[int], factor: float) -> RevisionTimeline:
        return RevisionTimeline(
            requests=requests,
            failed=[0] * seconds,
            p50_ms=[factor * value if count else math.nan for value, count in zip(p50, requests, strict=True)],
            p99_ms=[factor * 3.2 * value if count else math.nan for value, count in zip(p50, requests, strict=True)],
        )

    return LoadTimeline(
        offered=offered,
        sent=offered,
        answered=[max(0, rate - fail) for rate, fail in zip(offered, failed, strict=True)],
        failed={"status 503": failed, "refused:UO": [fail // 2 for fail in failed]},
        in_flight=[round(rate * value / 1000) for rate, value in zip(offered, p50, strict=True)],
        p50_ms=p50,
        p90_ms=[1.9 * value for value in p50],
        p99_ms=[3.2 * value for value in p50],
        p999_ms=[5.5 * value for value in p50],
        max_ms=[8.0 * value * chance.uniform(0.8, 1.5) for value in p50],
        delay_p99_ms=[0.2 * chance.uniform(0.8, 1.3) for _ in p50],
        generator_cpu=[0.03 + rate / 4000 for rate in offered],
        server_cpu={
            "envoy": [rate / 3000 for rate in offered],
            "v1": [min(0.4, rate / 500) for rate in offered],
        },
        revisions={"v1": revision(baseline, 1.0), "v2": revision(canary, 1.2)},
    )


def load(seconds: int = 120, name: str = "step") -> LoadRecord:
    columns = timeline(seconds)
    sent = sum(columns.offered)
    failed = sum(map(sum, columns.failed.values()))
    canary = sum(columns.revisions["v2"].requests)
    return LoadRecord(
        name=name,
        service="production/high-utiliser",
        target_rps=sent / seconds,
        achieved_rps=sent / seconds,
        started_at=START + 8.0,
        duration_s=float(seconds),
        sent=sent,
        classes={"answered:v1": sent - canary - failed, "answered:v2": canary, "status 503": failed},
        unexplained=0,
        latency=[summary("v1", sent - canary, failed, 1), summary("v2", canary, 0, 2)],
        overall=summary("all", sent, failed, 3),
        timeline=columns,
        shape=ShapeRecord(
            kind="step", parameters={"rates": [LOW, HIGH]}, duration_s=float(seconds),
            words=f"{LOW}/s, from {seconds * STEP_AT:g} s on {HIGH}/s",
        ),
        reproduce=f"rehearse load --shape step --rates {LOW},{HIGH} --duration {seconds} --seed 7",
        arrivals="poisson",
        schedule_delay_p50_ms=0.08,
        schedule_delay_p99_ms=0.24,
        generator_cpu=0.09,
        latency_verdict=guard("slow", 0.05, sent, sent // 60),
        errors_verdict=guard("errors", 0.02, sent, failed),
        ledger="ledger.parquet",
    )  # fmt: skip


def scaling(seconds: int = 120) -> ScalingRecord:
    counts = [(-0.03, 1, 1), (0.02, 1, 1), (0.3, 4, 1), (0.35, 4, 2), (0.4, 4, 4), (1.3, 1, 4), (1.35, 1, 1)]
    looks = [
        ScalingLook(at_s=at * seconds, metric=30.0 + 55.0 * (0.25 <= at < 0.4), desired=desired, ready=ready)
        for at, desired, ready in counts
    ]
    return ScalingRecord(
        service="production/high-utiliser", metric="rps", target=60.0, least=1, most=6, load="step", rps=HIGH,
        load_s=float(seconds), looks=looks,
        measured=ReactionTimes(metric_s=31.0, decided_s=36.0, first_s=42.0, ready_s=48.0, back_s=42.0, peak=4),
    )  # fmt: skip


def capacity() -> CapacityRecord:
    tried = [(50, "seek", "kept"), (100, "seek", "kept"), (200, "seek", "kept"), (400, "seek", "broken"),
             (280, "seek", "open"), (240, "confirm", "kept")]  # fmt: skip
    steps = [
        CapacityStep.model_validate({
            "rate": rate, "purpose": purpose, "started_at": START + 200 + 10 * at, "duration_s": 10.0,
            "requests": 8 * rate, "failed": 0, "slow": rate // 4 * (decision == "broken"), "effective": 6.0 * rate,
            "p50_ms": 3.0 + rate / 100, "p99_ms": 9.0 + rate / 10, "decision": decision,
            "guards": [guard("slow", 0.05, 8 * rate, rate // 4 * (decision == "broken"))],
        })
        for at, (rate, purpose, decision) in enumerate(tried)
    ]  # fmt: skip
    return CapacityRecord(
        service="production/high-utiliser", slo={"errors": 0.02, "slower_than_ms": 100, "slow": 0.05}, confidence=0.95,
        precision=0.1, low_rps=10, high_rps=1000, budget_s=120, duration_s=64.0, steps=steps, capacity_rps=240,
        broken_rps=400, reason="The two rates are as near as was asked for.",
    )  # fmt: skip


def run(seconds: int = 120) -> RunRecord:
    """The main sample's run with this load in place of its own."""
    record = sample_record.passed()
    record.loads = [load(seconds)]
    record.scaling = [scaling(seconds)]
    record.capacity = [capacity()]
    record.duration_s = seconds + 90.0
    for rollout in record.rollouts:
        rollout.started_at = START + 8.0 + 0.6 * seconds
        for at, step in enumerate(rollout.steps):
            step.started_at = rollout.started_at + 0.12 * seconds * at
            step.duration_s = 0.1 * seconds
    return record
