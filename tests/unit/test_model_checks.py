"""The judgements of model checks: counts by hand, bounds with their error rates, and the examples that are shown."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from harness.lifecycle.checks import (
    Asked,
    Case,
    Compared,
    Consumers,
    Direction,
    Invariance,
    Labelled,
    Latency,
    MinimumFunctionality,
    Moved,
    Probe,
    Robustness,
    Size,
    Skew,
    Slice,
)
from harness.lifecycle.checks._judging import ALPHA, ShareVerdict, rows_for
from harness.lifecycle.checks.robustness import ALL_MISSING, probes
from harness.lifecycle.signature import Column

STILL = Moved(0.5, 0.5, "age 3 to 4")
FELL, ROSE = Moved(0.5, 0.3, "age 3 to 5"), Moved(0.5, 0.9, "age 3 to 6")
COLUMNS = (Column("age", "double"), Column("town", "string"), Column("visits", "long"))


@pytest.mark.parametrize(
    ("bad", "rows", "at_most", "passed"),
    [
        (0, 10, 0.0, True),  # nothing is allowed, nothing was seen
        (1, 10_000, 0.0, False),
        (0, 687, 0.01, True),  # 0.99^687 is just above 1e-3, so 688 rows would be needed at alpha
        (0, 0, 0.01, None),
        (50, 100, 0.05, False),
        (5, 100, 0.05, None),  # at the bound: the rows cannot tell
    ],
)
def test_a_share_is_judged_by_exact_bounds(bad: int, rows: int, at_most: float, passed: bool | None) -> None:
    """It passes and fails beyond chance alone, and in between nobody can tell."""
    if rows == 687:
        assert ShareVerdict.of(bad, rows, at_most, ALPHA).passed is None
        assert ShareVerdict.of(bad, rows + 1, at_most, ALPHA).passed
    else:
        assert ShareVerdict.of(bad, rows, at_most, ALPHA).passed is passed


def test_the_fewest_rows_that_can_tell_are_those_of_the_power_of_the_bound() -> None:
    """(1 - 0.01)^n falls to 1e-3 at n = 688, (1 - 0.5)^n to 1/8 at n = 3."""
    assert rows_for(0.01, 1e-3) == 688
    assert rows_for(0.5, 0.125) == 3
    assert rows_for(0.0, 1e-3) == 1


def test_neither_error_of_a_share_is_more_frequent_than_stated() -> None:
    """A model that keeps its bound of 5 % fails, and one that breaks it passes, in at most alpha of the samples."""
    alpha, rows, bound = 0.02, 400, 0.05
    verdicts = [ShareVerdict.of(bad, rows, bound, alpha).passed for bad in range(rows + 1)]
    chances = binom.pmf(range(rows + 1), rows, bound)
    wrongly = {
        side: sum(p for p, passed in zip(chances, verdicts, strict=True) if passed is side) for side in (True, False)
    }
    assert 0.005 < wrongly[False] <= alpha
    assert 0.005 < wrongly[True] <= alpha


def test_invariance_names_the_rows_that_changed_most() -> None:
    """Three rows: one stayed, one fell by 0.2, one rose by 0.4; the largest change comes first."""
    found = Invariance("age").judge([STILL, FELL, ROSE])
    assert (found.passed, found.bad, found.rows) == (False, 2, 3)
    assert found.examples == ["age 3 to 6: 0.5000 became 0.9000", "age 3 to 5: 0.5000 became 0.3000"]
    assert found.error_rate is None
    assert Invariance("age", tolerance=0.4).judge([STILL, FELL, ROSE]).passed


def test_an_answer_that_is_no_number_any_more_has_changed() -> None:
    """NaN is no excuse: neither for a column that must not matter nor for a direction."""
    gone = Moved(0.5, math.nan, "age 3 to 7")
    assert Invariance("age").judge([gone]).passed is False
    assert Direction("age", by=1, at_least=1.0).judge([gone]).passed is False
    assert Invariance("age").judge([Moved(math.nan, math.nan, "")]).passed


def test_a_column_that_is_no_input_cannot_matter() -> None:
    """It is said, because a typing error would look the same; that one is refused earlier."""
    assert Invariance("ward").judge(None).observed == "the model does not take it"
    assert Direction("ward", by=1).judge(None).passed


def test_a_direction_counts_the_rows_that_moved_the_other_way() -> None:
    """Of 1,000 rows 5 fell: at least 98 % is shown, 99.9 % is refuted, 99.5 % is too near to tell."""
    moved = [STILL] * 600 + [ROSE] * 395 + [FELL] * 5
    assert Direction("age", by=1, at_least=0.98).judge(moved).passed
    assert Direction("age", by=1, at_least=0.9999).judge(moved).passed is False
    near = Direction("age", by=1, at_least=0.995).judge(moved)
    assert (near.passed, near.bad, near.detail) == (None, 5, "1,000 are too few to tell; at least 1,379 are needed")
    assert near.error_rate == ALPHA
    assert Direction("age", by=1, at_least=0.9, expect="down").judge(moved).bad == 395
    assert Direction("age", by=1, at_least=0.98, tolerance=0.2).judge(moved).bad == 0


def test_cases_are_required_by_bounds_and_by_each_other() -> None:
    """One is too high, one is not above the other: both are named with what was required."""
    check = MinimumFunctionality((Case("well", at_most=0.2), Case("ill", at_least=0.1, above="well")))
    assert check.judge({"well": 0.1, "ill": 0.4}).passed
    found = check.judge({"well": 0.3, "ill": 0.2})
    assert (found.passed, found.bad, found.observed) == (False, 2, "0 of 2 cases as required")
    assert found.examples == [
        "well: answered 0.3000, required at most 0.2",
        "ill: answered 0.2000, required more than 0.3000 of 'well'",
    ]
    assert check.judge({"well": math.nan, "ill": math.nan}).passed is False


def labelled(rows: int, *, auc: float, seed: int = 0) -> Labelled:
    """Rows whose classes are told apart by so much: normal scores, sqrt(2) times the AUC's quantile apart."""
    from statistics import NormalDist

    random = np.random.default_rng(seed)
    truth = (np.arange(rows) % 2).astype(float)
    apart = math.sqrt(2) * NormalDist().inv_cdf(auc)
    scores = np.asarray(1 / (1 + np.exp(-(random.normal(size=rows) + apart * truth))), np.float64)
    return Labelled(truth, scores)


def test_a_slice_that_is_small_is_not_judged_by_noise() -> None:
    """60 rows at AUC 0.6 neither show 0.55 nor refute 0.7; 6,000 do both."""
    few, many = {"x": labelled(60, auc=0.6)}, {"x": labelled(6_000, auc=0.6)}
    low, high = Slice(where="x", at_least=0.55, min_rows=50), Slice(where="x", at_least=0.7, min_rows=50)
    assert [low.judge(few).passed, high.judge(few).passed] == [None, None]
    assert [low.judge(many).passed, high.judge(many).passed] == [True, False]
    assert low.judge(few).detail == "too few rows to tell: x"
    assert Slice(where="x", at_least=0.55).judge(few).detail == "too small: x (60 rows)"
    assert Slice(where="x", at_least=0.55).judge({}).passed is None


def test_of_several_slices_the_worst_decides() -> None:
    """One group is at chance: it is shown first, and the check fails though the other is good."""
    groups = {"a": labelled(4_000, auc=0.75), "b": labelled(4_000, auc=0.5, seed=1)}
    found = Slice(by="ward", at_least=0.6).judge(groups)
    assert (found.passed, found.bad) == (False, 1)
    assert found.observed.startswith("auc b: 0.5")
    assert found.examples[0].startswith("b: ")
    assert Slice(by="ward", metric="brier", at_most=0.32).judge(groups).passed


def test_a_brier_score_by_hand() -> None:
    """All say 0.5, so each square is 0.25, without any spread: 0.25 is kept, 0.24 is broken."""
    rows = {"x": Labelled((np.arange(200) % 2).astype(np.float64), np.full(200, 0.5))}
    assert Slice(where="x", metric="brier", at_most=0.25).judge(rows).passed
    found = Slice(where="x", metric="brier", at_most=0.24).judge(rows)
    assert (found.passed, found.observed) == (False, "brier 0.250 (0.250 to 0.250)")


def test_each_column_is_probed_with_what_its_type_can_hold() -> None:
    """5 for the number, 4 for the text, a gap for the whole number, and one row of gaps alone."""
    found = list(probes([[1.5, "x", 3]], COLUMNS))
    assert len(found) == 5 + 4 + 1 + 1
    assert found[0] == Probe("age missing", (None, "x", 3))
    assert found[-1] == Probe(ALL_MISSING, (None, None, None))


def test_a_probe_must_be_answered_within_bounds_or_refused() -> None:
    """A crash is the worst, then no number, then one out of range; a refusal is clean unless it is not wanted."""
    fine, refused = Probe("a", (), answer=0.4), Probe("b", (), refused=True)
    assert Robustness().judge([fine, refused], "classification").passed
    assert Robustness(refusal=False).judge([fine, refused], "classification").examples == ["b: refused"]
    assert Robustness().judge([Probe("d", (), answer=3.0)], "regression").passed
    found = Robustness().judge(
        [fine, Probe("d", (), answer=3.0), Probe("c", (), answer=math.nan), Probe("e", (), error="KeyError: 1")],
        "classification",
    )
    assert (found.passed, found.bad) == (False, 3)
    assert found.examples == ["e: KeyError: 1", "c: answered nan", "d: answered 3"]
    assert Robustness().judge([], "classification").passed is None


def test_skew_is_told_by_encoding() -> None:
    """A difference, a refusal and an answer that is no number are skew; two that are none are alike."""
    same = [Compared("list", at, 0.25, served=0.25) for at in range(3)]
    assert Skew().judge(same).passed
    assert Skew().judge([Compared("list", 0, math.nan, served=math.nan)]).passed
    found = Skew().judge([*same, Compared("batch", 0, 0.25, served=0.5), Compared("batch", 1, 0.2, error="400")])
    assert (found.passed, found.bad, found.detail) == (False, 2, "batch: 2 differ")
    assert found.examples == ["batch, row 1: 400, offline 0.2", "batch, row 0: served 0.5, offline 0.25"]
    assert Skew().judge([]).passed is None


def test_a_latency_budget_is_a_share_of_slow_requests() -> None:
    """None of 700 slow shows a p99; 2 of 700 leave it open; 30 of 700 refute it. The 693rd of 700 is the p99."""
    check = Latency(p99_ms=10)
    assert check.judge([1.0] * 700).passed
    assert check.judge([1.0] * 698 + [11.0] * 2).passed is None
    assert check.judge([1.0] * 670 + [11.0] * 30).passed is False
    assert check.judge([1.0] * 692 + [5.0] * 8).observed.startswith("p99 5.00 ms; 0 of 700 slower")
    assert check.judge([1.0] * 100).detail == "100 are too few to tell; at least 688 are needed"


def test_a_size_budget_counts_all_files() -> None:
    """2 + 1 megabytes are within 3, and not within 2.9."""
    files = {"model.pkl": 2_000_000, "MLmodel": 1_000_000}
    assert Size(max_mb=3).judge(files).passed
    found = Size(max_mb=2.9).judge(files)
    assert (found.passed, found.examples[0]) == (False, "model.pkl: 2.000 MB")


def named(**kinds: tuple[str, ...]) -> Asked:
    return Asked("named", tuple(kinds), tuple(kinds.values()))


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (named(age=("number", "null"), town=("text",), visits=("integer",)), ""),
        (named(visits=("integer",), age=("integer",), town=("null",)), ""),
        (named(age=("number",), visits=("integer",)), "column town is missing"),
        (named(age=("number",), town=("text",), visits=("integer",), sex=("text",)), "column sex is extra"),
        (named(age=("text",), town=("text",), visits=("integer",)), "column age is double, clients send text"),
        (named(age=("number",), town=("text",), visits=("number",)), "column visits is long, clients send number"),
        (Asked("in order", ("0", "1", "2"), (("number",), ("text",), ("integer",))), ""),
        (Asked("in order", ("0", "1"), (("number",), ("text",))), "2 values a row, the version takes 3"),
        (
            Asked("in order", ("0", "1", "2"), (("number",), ("number",), ("integer",))),
            "column town is string, clients send number",
        ),
    ],
)
def test_clients_are_held_against_the_versions_columns(asked: Asked, problem: str) -> None:
    """What a server would refuse is named before the version is released."""
    found = Consumers().judge([asked], COLUMNS)
    assert (found.detail, found.passed) == (problem, not problem)


def test_values_without_names_need_the_order_of_the_live_version() -> None:
    """The server would take them, and answer nonsense."""
    asked = Asked("in order", ("0", "1"), (("number",), ("number",)), requests=7)
    version = [Column("bmi", "double"), Column("age", "double")]
    assert Consumers().judge([asked], version, live=["bmi", "age"]).passed
    found = Consumers().judge([asked], version, live=["age", "bmi"])
    assert (found.bad, found.detail) == (7, "values without names come in another order: bmi where age was")


def test_too_few_logged_requests_say_nothing() -> None:
    """An empty log is no proof."""
    assert Consumers().judge([], COLUMNS).passed is None
    assert Consumers(requests=2).judge([named(age=())], COLUMNS).detail == "at least 2 logged requests are needed"


def test_every_judgement_tells_its_name_and_kind() -> None:
    """A report and a gate line need both."""
    results: list[Any] = [
        Invariance("age", name="n").judge(None),
        Direction("age", by=1, name="n").judge(None),
        MinimumFunctionality((Case("c", at_least=0),), name="n").judge({"c": 1.0}),
        Slice(by="age", at_least=0.5, name="n").judge({}),
        Robustness(name="n").judge([], "regression"),
        Skew(name="n").judge([]),
        Latency(1, name="n").judge([]),
        Size(1, name="n").judge({}),
        Consumers(name="n").judge([], ()),
    ]
    assert {each.name for each in results} == {"n"}
    assert len({each.kind for each in results}) == len(results)
