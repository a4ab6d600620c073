"""Quality of served predictions: the figures, and how often their intervals hold."""

from __future__ import annotations

import numpy as np

from harness.lifecycle import quality

DRAWS = 200


def test_the_intervals_hold_as_often_as_they_say() -> None:
    """200 seeded windows of 300 rows of known AUC and Brier score: of the 95 % intervals at least 180 hold."""
    rng = np.random.default_rng(8)
    whole_score = rng.random(400_000)
    whole = (rng.random(400_000) < whole_score).astype(float)
    truth = _plain(whole, whole_score)
    held = dict.fromkeys(truth, 0)
    for _ in range(DRAWS):
        score = rng.random(300)
        for metric in quality.metrics((rng.random(300) < score).astype(float), score):
            held[metric.name] += metric.low <= truth[metric.name] <= metric.high

    assert min(held.values()) >= 180  # of 200 at 95 % fewer has probability 1e-3


def test_other_labels_than_0_and_1_are_judged_by_their_distance() -> None:
    truth = np.arange(50.0)
    (found,) = quality.metrics(truth, truth + 2)

    assert (found.name, found.value, found.low, found.high) == ("rmse", 2.0, 2.0, 2.0)


def test_one_class_alone_has_no_auc_and_few_labels_have_no_figure() -> None:
    ones = np.ones(40)

    assert [metric.name for metric in quality.metrics(ones, ones * 0.9)] == ["brier"]
    assert quality.metrics(ones[:29], ones[:29]) == []


def test_windows_are_those_of_the_clock() -> None:
    found = list(quality.spans(np.array([3599.0, 3600.0, 3601.0, 10_900.0]), 3600.0))

    assert [(span.start, span.rows) for span in found] == [
        (0.0, slice(0, 1)), (3600.0, slice(1, 3)), (10_800.0, slice(3, 4))
    ]  # fmt: skip


def _plain(truth: np.ndarray, score: np.ndarray) -> dict[str, float]:
    """Without the bootstrap, which would need 400 copies of the rows."""
    ranks = score.argsort().argsort() + 1
    ups = truth.sum()
    auc = (ranks[truth > 0].sum() - ups * (ups + 1) / 2) / (ups * (len(truth) - ups))
    return {"auc": auc, "brier": float(np.mean((truth - score) ** 2))}
