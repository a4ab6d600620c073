"""The promotion gate: whether a candidate may replace the champion, line by line with the numbers.

The decisions are pure functions of arrays; `main` is the thin edge that loads models and rows, for a forked worker.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.errors import DataError
from harness.lifecycle import evaluation
from harness.lifecycle.evaluation import Array, Mask
from harness.lifecycle.spec import GatePolicy, GateSpec
from harness.report.record import GateLine, GateRecord
from harness.runtime.job import answer

if TYPE_CHECKING:
    import pandas as pd

NO_CHAMPION = "no champion yet"
_CHUNK = 100
_WARM_UP = 20
_ROUNDS = 3


@dataclass(frozen=True)
class Judged:
    """One version's evidence: signature as (column, type) pairs, predictions on the held-out rows, single-row
    latencies.

    `predicted` is None for a champion that cannot answer the candidate's rows; a champion's latencies are not measured.
    """

    version: int
    inputs: tuple[tuple[str, str], ...]
    output: str
    predicted: Array | None
    latencies_ms: Array


@dataclass(frozen=True)
class HeldOut:
    """The rows both versions answered: the truth, and which rows each slice has."""

    truth: Array
    slices: Mapping[str, Mask]
    task: str


def judge(model: str, candidate: Judged, champion: Judged | None, rows: HeldOut, policy: GatePolicy) -> GateRecord:
    """Every line of the gate; it passes if no line fails. A line without anything to judge by is not judged."""
    lines = [
        schema_line(candidate, champion),
        floor_line(candidate, rows, policy),
        comparison_line(candidate, champion, rows, policy),
        calibration_line(candidate, rows, policy),
        slice_line(candidate, champion, rows, policy),
        latency_line(candidate, policy),
    ]
    return GateRecord(
        model=model,
        candidate=candidate.version,
        champion=champion.version if champion else None,
        passed=all(line.passed is not False for line in lines),
        lines=lines,
    )


def schema_line(candidate: Judged, champion: Judged | None) -> GateLine:
    """A champion's client must be able to call the candidate: the same columns, types, order and output."""
    name, own = "schema and signature", f"{len(candidate.inputs)} inputs, output {candidate.output}"
    if champion is None:
        return GateLine(name=name, passed=None, observed=own, required=NO_CHAMPION)
    required = f"{len(champion.inputs)} inputs, output {champion.output}, as version {champion.version}"
    differences = _differences(candidate, champion)
    return GateLine(name=name, passed=not differences, observed=own, required=required, detail="; ".join(differences))


def floor_line(candidate: Judged, rows: HeldOut, policy: GatePolicy) -> GateLine:
    """The metric on its own: AUC, or R2."""
    name = "r2" if rows.task == "regression" else "auc"
    found = evaluation.metrics(rows.truth, _known(candidate), rows.task)[name]
    return GateLine(
        name="metric",
        passed=found >= policy.min_metric,
        observed=f"{name} {found:.4f}",
        required=f"at least {policy.min_metric:g}",
        detail=f"{len(rows.truth):,} held-out rows",
    )


def comparison_line(candidate: Judged, champion: Judged | None, rows: HeldOut, policy: GatePolicy) -> GateLine:
    """Not worse than the champion by more than the margin, by the lower end of a paired bootstrap interval."""
    name = "not worse than the champion"
    if champion is None:
        return GateLine(name=name, passed=None, observed=NO_CHAMPION, required=f"above {-policy.margin:g}")
    if champion.predicted is None:
        reason = f"version {champion.version} cannot answer the candidate's held-out rows"
        return GateLine(name=name, passed=False, observed="not comparable", required="the same rows", detail=reason)
    differences = paired_bootstrap(rows.truth, _known(candidate), champion.predicted, rows.task, policy)
    tail = (1 - policy.confidence) / 2
    low, high = (float(end) for end in np.quantile(differences, [tail, 1 - tail]))
    own, other = (_shown(rows, each) for each in (_known(candidate), champion.predicted))
    word = "share of RMSE saved" if rows.task == "regression" else "AUC difference"
    return GateLine(
        name=name,
        passed=low > -policy.margin,
        observed=f"{word} [{low:+.4f}, {high:+.4f}]",
        required=f"lower end above {-policy.margin:g}",
        detail=f"{own} against {other} of version {champion.version}; "
        f"paired bootstrap, {policy.resamples} resamples, {policy.confidence:.0%}"
        + _too_wide(low, high, len(rows.truth), policy),
    )


def calibration_line(candidate: Judged, rows: HeldOut, policy: GatePolicy) -> GateLine:
    """Expected calibration error; for regression the mean residual in standard deviations of the target."""
    required = f"at most {policy.max_calibration_error:g}"
    said = _known(candidate)
    if rows.task == "regression":
        residuals = (rows.truth - said) / (float(rows.truth.std()) or 1.0)
        bias, chance = float(residuals.mean()), _chance(residuals, policy)
        passed = abs(bias) - chance <= policy.max_calibration_error
        observed = f"bias {bias:+.4f} sd, of it up to {chance:.4f} by chance"
        return GateLine(name="calibration", passed=passed, observed=observed, required=f"{required} beyond chance")
    error, chance = evaluation.calibration_error(rows.truth, said), evaluation.chance_calibration_error(said)
    worst = max(evaluation.reliability(rows.truth, said), key=lambda each: abs(each[0] - each[1]))
    return GateLine(
        name="calibration",
        passed=error - chance <= policy.max_calibration_error,
        observed=f"ECE {error:.4f}, of it {chance:.4f} by chance",
        required=f"{required} beyond chance",
        detail=f"largest gap: said {worst[0]:.3f}, saw {worst[1]:.3f} in {worst[2]} rows",
    )


def slice_line(candidate: Judged, champion: Judged | None, rows: HeldOut, policy: GatePolicy) -> GateLine:
    """The slice that changes worst: against the champion on the same slice or, without one, the candidate overall."""
    said = _known(candidate)
    other = champion.predicted if champion else None
    changes = {}
    for label, mask in rows.slices.items():
        truth = rows.truth[mask]
        if len(truth) >= policy.min_slice_rows and (rows.task == "regression" or np.ptp(truth) > 0):
            bar = (rows.truth, said) if other is None else (truth, other[mask])
            changes[label] = _change(_quality(*bar, rows.task), _quality(truth, said[mask], rows.task), rows.task)
    against = f"version {champion.version}" if champion and other is not None else "the candidate overall"
    required = f"at least {-policy.slice_margin:+g} against {against}"
    if not changes:
        few = "no slice is declared" if not rows.slices else f"no slice has {policy.min_slice_rows} rows of both kinds"
        return GateLine(name="worst slice", passed=None, observed="not judged", required=required, detail=few)
    worst = min(changes, key=lambda label: changes[label])
    left_out = [label for label in rows.slices if label not in changes]
    return GateLine(
        name="worst slice",
        passed=changes[worst] >= -policy.slice_margin,
        observed=f"{worst}: {_shown(rows, said, rows.slices[worst])}, {changes[worst]:+.4f}",
        required=required,
        detail=f"{int(rows.slices[worst].sum()):,} rows"
        + (f"; not judged, too few rows: {', '.join(left_out)}" if left_out else ""),
    )


def latency_line(candidate: Judged, policy: GatePolicy) -> GateLine:
    """The p95 of predicting one row, in process."""
    p50, p95 = (float(each) for each in np.quantile(candidate.latencies_ms, [0.5, 0.95]))
    return GateLine(
        name="single-row latency",
        passed=p95 <= policy.max_latency_ms,
        observed=f"p95 {p95:.2f} ms",
        required=f"at most {policy.max_latency_ms:g} ms",
        detail=f"p50 {p50:.2f} ms over {len(candidate.latencies_ms)} rows",
    )


def paired_bootstrap(truth: Array, candidate: Array, champion: Array, task: str, policy: GatePolicy) -> Array:
    """How much better the candidate is under each resample of the rows: AUC difference, or share of the RMSE saved.

    Both are judged on the same resample (Efron and Tibshirani, 1993, ch. 16), so what is hard about the rows cancels
    out.
    """
    random = np.random.default_rng(policy.seed)
    rows = len(truth)
    differences: list[Array] = []
    for start in range(0, policy.resamples, _CHUNK):
        count = min(_CHUNK, policy.resamples - start)
        weights = np.stack([np.bincount(each, minlength=rows) for each in random.integers(rows, size=(count, rows))])
        differences.append(_differences_under(weights.astype(np.float64), truth, candidate, champion, task))
    joined = np.concatenate(differences)
    return joined[~np.isnan(joined)]


def main(spec_json: str, result_path: str) -> None:
    """A job (see harness.runtime.job): judge what `spec_json` (a GateSpec) names and answer with a GateRecord."""
    answer(result_path, lambda: run_gate(GateSpec.from_json(spec_json)).model_dump(mode="json"))


def run_gate(spec: GateSpec) -> GateRecord:
    """Loads both versions from MLflow and the held-out rows, and judges."""
    import pandas as pd

    frame = pd.read_parquet(spec.heldout)
    if spec.dataset.target not in frame:
        raise DataError(f"{spec.heldout}: no column {spec.dataset.target!r}; it has: {', '.join(frame.columns)}")
    rows = HeldOut(
        truth=frame[spec.dataset.target].to_numpy(np.float64),
        slices=dict(evaluation.groups(frame, spec.dataset.slices)),
        task=spec.dataset.task,
    )
    candidate = gather(spec, spec.candidate, frame, timed=True)
    champion = None if spec.champion is None else gather(spec, spec.champion, frame)
    return judge(spec.model_name, candidate, champion, rows, spec.policy)


def gather(spec: GateSpec, version: int, frame: pd.DataFrame, *, timed: bool = False) -> Judged:
    """Downloads one version and lets it answer the held-out rows; if `timed`, some of them one by one."""
    import mlflow
    from threadpoolctl import threadpool_limits

    from harness.lifecycle import tracking

    with tempfile.TemporaryDirectory(prefix="rehearsal-gate-") as folder:
        files = tracking.download(spec.tracking_uri, spec.model_name, version, Path(folder))
        model = mlflow.sklearn.load_model(str(files))
        signature = mlflow.models.Model.load(str(files)).signature
    inputs = tuple((column.name, column.type.name) for column in signature.inputs.inputs)
    names = [name for name, _ in inputs]
    predicted, latencies = None, np.zeros(0)
    if set(names) <= set(frame.columns):
        predicted = evaluation.predict(model, frame[names], spec.dataset.task)
    if timed and predicted is not None:
        with threadpool_limits(1):
            latencies = _latencies_ms(model, frame[names].head(spec.policy.latency_rows), spec)
    return Judged(version, inputs, _type_of(signature.outputs), predicted, latencies)


def _latencies_ms(model: Any, rows: pd.DataFrame, spec: GateSpec) -> Array:
    """Each row's best of three calls, so that a busy machine is not taken for a slow model; a slow model stays slow.

    A few calls before are not counted: they pay for caches and lazy imports.
    """
    table = rows.to_numpy()
    singles = [table[at : at + 1] for at in range(len(table))]
    for row in singles[:_WARM_UP]:
        evaluation.predict(model, row, spec.dataset.task)

    def took_ms(row: Any) -> float:
        start = time.perf_counter()
        evaluation.predict(model, row, spec.dataset.task)
        return 1000 * (time.perf_counter() - start)

    rounds = np.array([[took_ms(row) for row in singles] for _ in range(_ROUNDS)])
    return np.asarray(rounds.min(axis=0))


def _type_of(outputs: Any) -> str:
    """The output's type in one word; whole numbers of any width are one kind of label."""
    first = outputs.inputs[0].type
    name = str(getattr(first, "name", first))
    return "integer" if name.startswith(("int", "long")) else name


def _known(judged: Judged) -> Array:
    if judged.predicted is None:
        raise DataError(
            f"version {judged.version} cannot answer the held-out rows: a column of its signature is missing"
        )
    return judged.predicted


def _differences(candidate: Judged, champion: Judged) -> list[str]:
    own, other = dict(candidate.inputs), dict(champion.inputs)
    found = [f"column {name} is missing" for name in other if name not in own]
    found += [f"column {name} is new" for name in own if name not in other]
    changed = [name for name in own if other.get(name, own[name]) != own[name]]
    found += [f"column {name} is {own[name]}, was {other[name]}" for name in changed]
    if not found and candidate.inputs != champion.inputs:
        found.append("the columns are in another order")
    if candidate.output != champion.output:
        found.append(f"the output is {candidate.output}, was {champion.output}")
    return found


def _chance(residuals: Array, policy: GatePolicy) -> float:
    """How far the mean of residuals around zero strays with probability `confidence` (normal approximation)."""
    return NormalDist().inv_cdf((1 + policy.confidence) / 2) * float(residuals.std()) / math.sqrt(len(residuals))


def _too_wide(low: float, high: float, rows: int, policy: GatePolicy) -> str:
    """Says so if the candidate is refused because the rows cannot tell it from the champion."""
    if low > -policy.margin or high <= 0:
        return ""
    return f"; {rows:,} held-out rows are too few to tell: bring more, or set a wider margin"


def _quality(truth: Array, predicted: Array, task: str) -> float:
    return abs(evaluation.goodness(truth, predicted, task))


def _change(bar: float, found: float, task: str) -> float:
    """How much better `found` is than `bar`: AUC gained, or the share of the RMSE saved."""
    return (bar - found) / (bar or 1.0) if task == "regression" else found - bar


def _shown(rows: HeldOut, predicted: Array, mask: Mask | None = None) -> str:
    truth = rows.truth if mask is None else rows.truth[mask]
    value = _quality(truth, predicted if mask is None else predicted[mask], rows.task)
    return f"{'rmse' if rows.task == 'regression' else 'auc'} {value:.4f}"


def _differences_under(weights: Array, truth: Array, candidate: Array, champion: Array, task: str) -> Array:
    if task == "regression":
        own, other = (np.sqrt(weights @ (truth - each) ** 2 / len(truth)) for each in (candidate, champion))
        return np.asarray((other - own) / np.where(other > 0, other, 1.0))
    own, other = (evaluation.resampled_auc(truth, each, weights) for each in (candidate, champion))
    return np.asarray(own - other)
