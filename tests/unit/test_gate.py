"""The promotion gate's lines, on arrays: each passes and fails for the reason that it prints."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from harness.lifecycle import evaluation, gate
from harness.lifecycle.gate import HeldOut, Judged
from harness.lifecycle.spec import GatePolicy

RANDOM = np.random.default_rng(11)
CHANCE = RANDOM.uniform(0.02, 0.98, 3000)
TRUTH = (RANDOM.uniform(size=3000) < CHANCE).astype(float)
NOISY = np.clip(CHANCE + RANDOM.normal(0, 0.35, 3000), 0.01, 0.99)
OTHER = np.clip(CHANCE + np.random.default_rng(12).normal(0, 0.35, 3000), 0.01, 0.99)
FIRST = np.arange(3000) < 400
ROWS = HeldOut(TRUTH, {"group=a": FIRST, "group=b": ~FIRST}, "classification")
INPUTS = (("age", "double"), ("bmi", "double"))
POLICY = GatePolicy()


def version(number: int, predicted: Any = CHANCE, **changes: Any) -> Judged:
    values = {"inputs": INPUTS, "output": "integer", "latencies_ms": np.full(50, 0.4), **changes}
    return Judged(version=number, predicted=predicted, **values)


def failing(candidate: Judged, champion: Judged | None, rows: HeldOut = ROWS, policy: GatePolicy = POLICY) -> list[str]:
    record = gate.judge("model", candidate, champion, rows, policy)
    failed = [line.name for line in record.lines if line.passed is False]
    assert record.passed == (not failed)
    return failed


def test_a_better_model_passes_and_the_first_one_needs_no_champion() -> None:
    """Without a champion the comparing lines say so and are not judged; what was not judged did not pass."""
    assert failing(version(2), version(1, NOISY)) == []
    record = gate.judge("model", version(1), None, ROWS, POLICY)
    assert record.passed
    assert record.champion is None
    assert [line.name for line in record.lines if line.passed is None] == [
        "schema and signature",
        "not worse than the champion",
    ]
    assert record.summary == "4 of 4 passed, 2 not judged"
    assert gate.judge("model", version(2), version(1, NOISY), ROWS, POLICY).summary == "6 of 6 passed"
    assert [line.observed for line in record.lines if line.name == "not worse than the champion"] == ["no champion yet"]


def test_a_worse_model_is_refused_with_the_interval() -> None:
    """The interval of the difference lies below zero, and the line shows it."""
    record = gate.judge("model", version(2, NOISY), version(1), ROWS, POLICY)
    line = next(line for line in record.lines if line.name == "not worse than the champion")
    assert line.passed is False
    assert not record.passed
    assert line.observed.startswith("AUC difference [-")
    assert line.required == "lower end above -0.01"
    assert "of version 1; paired bootstrap, 1000 resamples, 95%" in line.detail


def test_the_same_model_again_passes_because_the_bootstrap_is_paired() -> None:
    """On the same resample the same predictions differ by nothing, however few the rows."""
    few = HeldOut(TRUTH[:60], {}, "classification")
    assert "not worse than the champion" not in failing(version(2, CHANCE[:60]), version(1, CHANCE[:60]), few)


def test_too_few_rows_to_tell_is_a_refusal() -> None:
    """The interval reaches from much worse to better: that is no evidence that nothing is lost."""
    few = HeldOut(TRUTH[:80], {}, "classification")
    other = np.clip(CHANCE[:80] + RANDOM.normal(0, 0.1, 80), 0.01, 0.99)
    differences = gate.paired_bootstrap(few.truth, other, CHANCE[:80], "classification", POLICY)
    assert np.quantile(differences, 0.025) < -POLICY.margin < np.quantile(differences, 0.975)
    line = gate.comparison_line(version(2, other), version(1, CHANCE[:80]), few, POLICY)
    assert line.passed is False


def test_the_margin_is_what_decides_between_a_little_and_much_worse() -> None:
    """A wider margin lets the same pair through."""
    slightly = np.clip(CHANCE + RANDOM.normal(0, 0.1, 3000), 0.01, 0.99)
    name = "not worse than the champion"
    assert name in failing(version(2, slightly), version(1), policy=GatePolicy(margin=0.001))
    assert name not in failing(version(2, slightly), version(1), policy=GatePolicy(margin=0.05))


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"inputs": INPUTS[:1]}, "column bmi is missing"),
        ({"inputs": (*INPUTS, ("sex", "string"))}, "column sex is new"),
        ({"inputs": (("age", "double"), ("bmi", "string"))}, "column bmi is string, was double"),
        ({"inputs": INPUTS[::-1]}, "the columns are in another order"),
        ({"output": "double"}, "the output is double, was integer"),
    ],
)
def test_another_signature_is_refused_by_column(changes: dict[str, Any], detail: str) -> None:
    """A client of the champion could not call such a candidate."""
    line = gate.schema_line(version(2, **changes), version(1))
    assert line.passed is False
    assert line.detail == detail


def test_a_champion_that_cannot_answer_the_rows_is_not_compared() -> None:
    """Its columns are gone from the data: the line fails and says why, instead of comparing other rows."""
    assert "not worse than the champion" in failing(version(2), version(1, None))


def test_a_model_that_is_sure_of_too_much_fails_calibration_only() -> None:
    """Squeezing the odds keeps the order, so the AUC stays, but the probabilities lie."""
    overconfident = CHANCE**3 / (CHANCE**3 + (1 - CHANCE) ** 3)
    assert failing(version(2, overconfident), version(1)) == ["calibration"]


def test_a_model_that_is_bad_for_one_group_is_refused_by_that_slice() -> None:
    """Good on average is not enough; the slice is named with its rows."""
    unfair = np.where(FIRST, RANDOM.uniform(0.02, 0.98, 3000), CHANCE)
    line = gate.slice_line(version(2, unfair), version(1), ROWS, POLICY)
    assert line.passed is False
    assert line.observed.startswith("group=a: auc 0.")
    assert line.detail == "400 rows"
    assert not gate.slice_line(version(2, unfair), None, ROWS, POLICY).passed


def test_a_slice_with_too_few_rows_is_said_to_be_not_judged() -> None:
    """No verdict from a handful of rows, and no silence either."""
    few = HeldOut(TRUTH, {"group=a": np.arange(3000) < 50}, "classification")
    line = gate.slice_line(version(2), None, few, POLICY)
    assert line.passed is None
    assert line.observed == "not judged"
    assert line.detail == "no slice has 100 rows of both kinds"


def test_slices_that_are_not_judged_are_named_beside_those_that_are() -> None:
    """The reader sees which groups the verdict says nothing about."""
    slices = {"group=a": FIRST, "group=b": np.arange(3000) < 50}
    line = gate.slice_line(version(2), version(1), HeldOut(TRUTH, slices, "classification"), POLICY)
    assert line.detail == "400 rows; not judged, too few rows: group=b"


def test_a_candidate_that_few_rows_cannot_tell_from_the_champion_reads_that_it_needs_more() -> None:
    """A refusal for want of rows is not a refusal of the model: the line says what to bring. A worse one reads none."""
    few = HeldOut(TRUTH[:125], {}, "classification")
    unsure = gate.comparison_line(version(2, NOISY[:125]), version(1, OTHER[:125]), few, POLICY)
    worse = gate.comparison_line(version(2, NOISY), version(1), ROWS, POLICY)
    assert not unsure.passed
    assert "125 held-out rows are too few to tell: bring more" in unsure.detail
    assert "too few" not in worse.detail


def test_a_calibrated_model_passes_on_few_rows_and_an_overconfident_one_on_many_does_not() -> None:
    """Bins of a dozen rows show an error of 0.08 by chance; it is not held against the model."""
    random = np.random.default_rng(5)
    for _ in range(50):
        said = random.beta(1, 3, 125)
        few = HeldOut((random.random(125) < said).astype(float), {}, "classification")
        line = gate.calibration_line(version(2, said), few, POLICY)
        assert line.passed, line
        assert "by chance" in line.observed
        noise = HeldOut(random.normal(10, 3, 125), {}, "regression")
        assert gate.calibration_line(version(2, np.full(125, 10.0)), noise, POLICY).passed


def test_a_slow_model_and_a_useless_one_are_refused() -> None:
    """The p95 counts, not the mean; and an AUC of a coin needs no champion to fail."""
    latencies = np.r_[np.full(90, 0.4), np.full(10, 40.0)]
    assert failing(version(2, latencies_ms=latencies), None) == ["single-row latency"]
    assert "metric" in failing(version(2, np.full(3000, 0.5)), None)


def test_regression_is_judged_by_error_and_bias() -> None:
    """Share of the RMSE saved, and the mean residual in standard deviations."""
    truth = RANDOM.normal(10, 3, 2000)
    good, bad = truth + RANDOM.normal(0, 1, 2000), truth + RANDOM.normal(0, 1.5, 2000)
    rows = HeldOut(truth, {"group=a": np.arange(2000) < 500}, "regression")
    assert failing(version(2, good), version(1, bad), rows) == []
    assert failing(version(2, bad), version(1, good), rows) == ["not worse than the champion", "worst slice"]
    assert failing(version(2, good + 0.5), None, rows) == ["calibration"]


def test_the_interval_is_the_same_for_the_same_seed_and_covers_the_truth() -> None:
    """Repeatable; and the spread agrees with a plain bootstrap that calls scikit-learn."""
    found = gate.paired_bootstrap(TRUTH, CHANCE, NOISY, "classification", POLICY)
    again = gate.paired_bootstrap(TRUTH, CHANCE, NOISY, "classification", POLICY)
    assert np.array_equal(found, again)
    draws = [RANDOM.integers(3000, size=3000) for _ in range(150)]
    plain = [roc_auc_score(TRUTH[at], CHANCE[at]) - roc_auc_score(TRUTH[at], NOISY[at]) for at in draws]
    assert found.mean() == pytest.approx(np.mean(plain), abs=0.002)
    assert found.std() == pytest.approx(np.std(plain), rel=0.25)


def test_the_auc_agrees_with_scikit_learn_on_ties() -> None:
    """A depth-2 tree has four different scores: ties must count one half."""
    tied = np.round(CHANCE * 4) / 4
    assert evaluation.auc(TRUTH, tied) == pytest.approx(roc_auc_score(TRUTH, tied))
    weights = RANDOM.integers(0, 3, size=(1, 3000)).astype(float)
    weighted = roc_auc_score(TRUTH, tied, sample_weight=weights[0])
    assert evaluation.resampled_auc(TRUTH, tied, weights)[0] == pytest.approx(weighted)


def test_honest_probabilities_have_little_calibration_error() -> None:
    """About zero for the true chances, about the shift for shifted ones."""
    assert evaluation.calibration_error(TRUTH, CHANCE) < 0.03
    assert evaluation.calibration_error(TRUTH, np.clip(CHANCE + 0.2, 0, 1)) == pytest.approx(0.18, abs=0.03)


def test_the_plots_are_small_svgs_without_outside_references() -> None:
    """They are inlined into the report, which needs no network."""
    drawn = evaluation.plots(TRUTH, CHANCE, "classification")
    assert set(drawn) == {"ROC", "Calibration"}
    for svg in drawn.values():
        assert svg.startswith("<svg")
        assert len(svg) < 8000
        assert "href" not in svg
