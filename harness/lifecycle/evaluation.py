"""How good a model is on held-out rows: metrics, calibration, slices, two small SVG plots; pure functions on arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

BINS = 10
MAX_GROUPS = 10
_EPSILON = 1e-6


def predict(model: Any, rows: Any, task: str) -> Array:
    """The number that is served: the probability of class 1 where the model has one, else `predict`; shape [n]."""
    if task == "classification" and hasattr(model, "predict_proba"):
        return np.asarray(model.predict_proba(rows), dtype=np.float64)[:, 1]
    return np.asarray(model.predict(rows), dtype=np.float64)


def metrics(truth: Array, predicted: Array, task: str) -> dict[str, float]:
    """All held-out metrics of one model; the first is the one that search and gate compare."""
    if task == "regression":
        residuals = truth - predicted
        error = float(np.sqrt(np.mean(residuals**2)))
        spread = float(truth.std())
        return {
            "rmse": error,
            "mae": float(np.mean(np.abs(residuals))),
            "r2": 1 - (error / spread) ** 2 if spread else 0.0,
            "bias": float(residuals.mean()),
        }
    clipped = np.clip(predicted, _EPSILON, 1 - _EPSILON)
    return {
        "auc": auc(truth, predicted),
        "log_loss": float(-np.mean(truth * np.log(clipped) + (1 - truth) * np.log(1 - clipped))),
        "brier": float(np.mean((truth - predicted) ** 2)),
        "calibration_error": calibration_error(truth, predicted),
        "positive_share": float(truth.mean()),
    }


def goodness(truth: Array, predicted: Array, task: str) -> float:
    """The metric to maximise: AUC, or minus the RMSE."""
    return -float(np.sqrt(np.mean((truth - predicted) ** 2))) if task == "regression" else auc(truth, predicted)


def auc(truth: Array, predicted: Array) -> float:
    """Area under the ROC curve, ties count one half (Mann-Whitney U); nan if only one class is there."""
    return float(resampled_auc(truth, predicted, np.ones((1, len(truth))))[0])


def resampled_auc(truth: Array, predicted: Array, weights: Array) -> Array:
    """The AUC under each row of `weights` ([resamples, n], how often a row counts); shape [resamples]."""
    order = np.argsort(predicted, kind="stable")
    ranked = predicted[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    positive = truth[order] > 0
    ordered = weights[:, order]
    ups = np.add.reduceat(ordered * positive, starts, axis=1)
    downs = np.add.reduceat(ordered * ~positive, starts, axis=1)
    below = np.cumsum(downs, axis=1) - downs
    pairs = ups.sum(axis=1) * downs.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.sum(ups * (below + downs / 2), axis=1) / pairs)


def reliability(truth: Array, predicted: Array, bins: int = BINS) -> list[tuple[float, float, int]]:
    """(mean predicted, observed share, rows) in bins of about equal counts; equal predictions share a bin."""
    edges = np.unique(np.quantile(predicted, np.linspace(0, 1, bins + 1)[1:-1]))
    found = np.searchsorted(edges, predicted, side="right")
    masks = (found == each for each in np.unique(found))
    return [(float(predicted[at].mean()), float(truth[at].mean()), int(at.sum())) for at in masks]


def calibration_error(truth: Array, predicted: Array, bins: int = BINS) -> float:
    """Expected calibration error: mean |observed - predicted| over the bins, weighted by rows (Naeini et al., 2015)."""
    return sum(abs(seen - said) * rows for said, seen, rows in reliability(truth, predicted, bins)) / len(truth)


def chance_calibration_error(predicted: Array, *, draws: int = 100, seed: int = 0) -> float:
    """The mean calibration error of a perfectly calibrated model on as many rows: what few rows show by chance alone.

    Outcomes are drawn from the predictions themselves (consistency resampling; Bröcker and Smith, 2007).
    """
    random = np.random.default_rng(seed)
    truths = (random.random((draws, len(predicted))) < predicted).astype(np.float64)
    return float(np.mean([calibration_error(truth, predicted) for truth in truths]))


def groups(frame: pd.DataFrame, columns: Sequence[str]) -> Iterator[tuple[str, Mask]]:
    """Every slice as (label, rows): each value of a column with few values, else its lower and upper half."""
    for name in columns:
        column = frame[name]
        values = sorted(column.dropna().unique(), key=str)
        if len(values) <= MAX_GROUPS:
            yield from ((f"{name}={value}", (column == value).to_numpy()) for value in values)
        elif column.dtype.kind in "fiu":
            middle = column.median()
            yield f"{name}<={middle:g}", (column <= middle).to_numpy()
            yield f"{name}>{middle:g}", (column > middle).to_numpy()


def slice_metrics(
    frame: pd.DataFrame, columns: Sequence[str], truth: Array, predicted: Array, task: str
) -> dict[str, tuple[float, int]]:
    """label -> (AUC or RMSE, rows); a slice with one class is nan."""
    return {
        label: (abs(goodness(truth[rows], predicted[rows], task)), int(rows.sum()))
        for label, rows in groups(frame, columns)
    }


def plots(truth: Array, predicted: Array, task: str) -> dict[str, str]:
    """Title -> SVG. By hand, because importing matplotlib costs more than the whole evaluation."""
    if task == "regression":
        keep = np.linspace(0, len(truth) - 1, min(300, len(truth))).astype(int)
        low, high = float(min(truth.min(), predicted.min())), float(max(truth.max(), predicted.max()))
        width = high - low or 1.0
        points = [((p - low) / width, (t - low) / width) for p, t in zip(predicted[keep], truth[keep], strict=True)]
        return {"Predicted and observed": _svg("predicted", "observed", dots=points)}
    false_rate, true_rate = roc(truth, predicted)
    bins = [(said, seen) for said, seen, _ in reliability(truth, predicted)]
    return {
        "ROC": _svg("false positive rate", "true positive rate", line=list(zip(false_rate, true_rate, strict=True))),
        "Calibration": _svg("predicted probability", "observed share", line=bins, dots=bins),
    }


def roc(truth: Array, predicted: Array, points: int = 60) -> tuple[Array, Array]:
    """False and true positive rates at up to `points` thresholds, from (0, 0) to (1, 1)."""
    order = np.argsort(-predicted, kind="stable")
    ranked, positive = predicted[order], truth[order] > 0
    ends = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])
    ends = ends[np.unique(np.linspace(0, len(ends) - 1, points).astype(int))]
    ups, downs = np.cumsum(positive)[ends], np.cumsum(~positive)[ends]
    return np.r_[0.0, downs / max(1, downs[-1])], np.r_[0.0, ups / max(1, ups[-1])]


_SIDE = 220.0
_EDGE = 34.0


def _svg(x_title: str, y_title: str, line: Sequence[tuple[Any, Any]] = (), dots: Sequence[tuple[Any, Any]] = ()) -> str:
    """A square plot of [0, 1] x [0, 1] with its diagonal; inherits the page's text colour."""
    whole = _SIDE + 2 * _EDGE
    path = " ".join(f"{_x(x)},{_y(y)}" for x, y in line)
    marks = "".join(f'<circle cx="{_x(x)}" cy="{_y(y)}" r="2.5" fill="#2f6fde" fill-opacity="0.6"/>' for x, y in dots)
    ticks = "".join(
        f'<text x="{_x(at)}" y="{_y(0) + 14}" text-anchor="middle">{at:g}</text>'
        f'<text x="{_x(0) - 5}" y="{_y(at) + 4}" text-anchor="end">{at:g}</text>'
        for at in (0.0, 0.5, 1.0)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole:g} {whole:g}" role="img"'
        f' aria-label="{y_title} against {x_title}" font-family="sans-serif" font-size="10" fill="currentColor">'
        f'<path d="M{_x(0)} {_y(1)}V{_y(0)}H{_x(1)}" fill="none" stroke="currentColor"/>'
        f'<path d="M{_x(0)} {_y(0)}L{_x(1)} {_y(1)}" stroke="currentColor" stroke-dasharray="3" stroke-opacity="0.5"/>'
        f'<polyline points="{path}" fill="none" stroke="#2f6fde" stroke-width="1.8"/>{marks}{ticks}'
        f'<text x="{_x(0.5)}" y="{whole - 4:g}" text-anchor="middle">{x_title}</text>'
        f'<text transform="translate(10 {_y(0.5)}) rotate(-90)" text-anchor="middle">{y_title}</text></svg>'
    )


def _x(value: Any) -> float:
    return round(_EDGE + _SIDE * float(value), 1)


def _y(value: Any) -> float:
    return round(_EDGE + _SIDE * (1 - float(value)), 1)
