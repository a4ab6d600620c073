"""The drift rule: how often it is wrong, what it refuses to judge. No Evidently here: tests/embedded has it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import fisher_exact, ks_2samp

from harness.errors import DataError
from harness.lifecycle._comparison import KS, LEVELS, MISSING, Comparison, DriftPolicy, levels_p_value, threshold
from harness.lifecycle.drift import detect, main, rows_needed
from harness.runtime.job import read_answer

DRAWS = 200


@pytest.fixture(scope="module")
def people() -> pd.DataFrame:
    """RAND Health Insurance Experiment, 20,190 rows: nine features and a score that depends on them."""
    from statsmodels.datasets import randhie

    features: pd.DataFrame = randhie.load_pandas().data.drop(columns="mdvis")
    return features.assign(prediction=1 / (1 + np.exp(1 + 0.3 * features.lncoins - 0.05 * features.disea)))


def smallest_p_value(reference: pd.DataFrame, window: pd.DataFrame) -> float:
    """The evidence that decides, before the correction for several columns."""
    frames = Comparison.of(reference, window, "window", DriftPolicy())
    return min(
        ks_2samp(frames.reference[column], frames.window[column]).pvalue
        if method == KS
        else levels_p_value(frames.reference[column], frames.window[column])
        for column, method in frames.methods.items()
    )


def test_an_unshifted_window_is_seldom_called_drift_at_any_stated_rate(people: pd.DataFrame) -> None:
    """200 seeded splits of real rows: at a false-alarm rate of 20 % at most 20 % alarm, at 0.1 % none does.

    The rate of 0.1 % is the union bound over tests that are exact; the loose rates are where 200 draws could refute it.
    """
    rng = np.random.default_rng(20261123)
    smallest = []
    for _ in range(DRAWS):
        order = rng.permutation(len(people))
        rows = int(rng.integers(800, 2001))
        smallest.append(smallest_p_value(people.iloc[order[:16_000]], people.iloc[order[16_000 : 16_000 + rows]]))

    alarms = {rate: sum(p <= rate / 10 for p in smallest) for rate in (0.2, 0.05, 0.001)}

    assert alarms[0.001] == 0
    assert alarms[0.05] <= 20  # 10 expected at most; > 20 has probability 1e-3
    assert alarms[0.2] <= 58  # 40 expected at most; > 58 has probability 1e-3


def test_people_in_poor_health_are_called_drift_in_every_draw(people: pd.DataFrame) -> None:
    """300 rows of the 9 % in fair or poor health, 50 draws; even without the columns that define them."""
    poor = people[people.hlthf + people.hlthp > 0]
    rest = [column for column in people.columns if not column.startswith("hlth")]

    for seed in range(50):
        window = poor.sample(300, random_state=seed)
        reference = people.drop(window.index).sample(16_000, random_state=seed)
        assert smallest_p_value(reference[rest], window[rest]) < 1e-12


def test_two_levels_are_judged_by_fishers_exact_test() -> None:
    """Against scipy's: doubling the smaller tail is never less than summing the less likely tables."""
    old = pd.Series(["a"] * 30 + ["b"] * 970)
    new = pd.Series(["a"] * 12 + ["b"] * 188)

    ours = levels_p_value(old, new)
    exact = fisher_exact([[30, 970], [12, 188]], alternative="less").pvalue

    assert ours == pytest.approx(2 * exact)


def test_several_levels_pay_for_being_several() -> None:
    """Three levels are three tests: the evidence of the first is worth a third."""
    old = pd.Series(["a"] * 30 + ["b"] * 485 + ["c"] * 485)
    new = pd.Series(["a"] * 12 + ["b"] * 94 + ["c"] * 94)

    exact = fisher_exact([[30, 970], [12, 188]], alternative="less").pvalue

    assert levels_p_value(old, new) == pytest.approx(3 * 2 * exact)


def test_the_same_values_in_both_frames_are_no_evidence() -> None:
    same = pd.Series(["a", "b", "c"] * 50)

    assert levels_p_value(same, same) == 1.0
    assert levels_p_value(pd.Series(["a"] * 50), pd.Series(["a"] * 9)) == 1.0


def frames(rows: int = 500) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A reference of 4,000 rows and a window, both with one plain numeric column."""
    rng = np.random.default_rng(1)
    reference = pd.DataFrame({"x": rng.normal(size=4_000)})
    return reference, pd.DataFrame({"x": rng.normal(size=rows)})


def test_a_level_that_the_reference_never_saw_is_a_shift_not_an_error() -> None:
    reference, window = frames()
    reference["plan"], window["plan"] = "basic", ["basic"] * 450 + ["gold"] * 50

    comparison = Comparison.of(reference, window, "w", DriftPolicy())

    assert comparison.methods == {"x": KS, "plan": LEVELS}
    assert levels_p_value(comparison.reference["plan"], comparison.window["plan"]) < 1e-12


def test_values_that_go_missing_are_a_shift_of_their_own() -> None:
    reference, window = frames()
    window.loc[:100, "x"] = np.nan

    comparison = Comparison.of(reference, window, "w", DriftPolicy())

    assert comparison.methods == {"x": KS, "x" + MISSING: LEVELS}
    missing = "x" + MISSING
    assert levels_p_value(comparison.reference[missing], comparison.window[missing]) < 1e-12


def test_a_column_that_is_all_missing_is_judged_by_that_alone() -> None:
    reference, window = frames()
    reference["gone"], window["gone"] = 1.5, np.nan

    assert set(Comparison.of(reference, window, "w", DriftPolicy()).methods) == {"x", "gone" + MISSING}


def test_whole_numbers_equal_the_same_numbers_as_floats() -> None:
    """JSON traffic may turn 1.0 into 1: that is no drift."""
    reference, window = frames()
    reference["flag"], window["flag"] = 1.0, 1

    comparison = Comparison.of(reference, window, "w", DriftPolicy())

    assert levels_p_value(comparison.reference["flag"], comparison.window["flag"]) == 1.0


def test_many_labels_are_compared_as_the_frequent_ones_and_the_rest() -> None:
    reference, window = frames()
    reference["id"] = [f"r{i}" for i in range(4_000)]
    window["id"] = [f"w{i}" for i in range(500)]

    comparison = Comparison.of(reference, window, "w", DriftPolicy())

    assert comparison.reference["id"].nunique() <= 50
    assert "(other)" in set(comparison.window["id"])


def test_a_window_is_capped_so_that_sensitivity_is_the_same_for_any_traffic() -> None:
    reference, window = frames(rows=20_000)

    assert len(Comparison.of(reference, window, "w", DriftPolicy()).window) == 5_000


def test_the_rows_needed_find_the_shift_they_promise() -> None:
    """At the stated size, 198 of 200 windows whose distribution is 0.2 off reach the threshold (power 0.99)."""
    rows = rows_needed(16_000, 10, DriftPolicy())
    assert rows is not None
    rng = np.random.default_rng(3)
    reference = rng.uniform(size=16_000)
    limit = threshold(10, DriftPolicy())

    # Mass 0.2 moved from below one half to above it: the two distribution functions differ by 0.2 at one half.
    found = 0
    for _ in range(DRAWS):
        low = rng.uniform(size=rows) < 0.3
        window = np.where(low, rng.uniform(0, 0.5, rows), rng.uniform(0.5, 1, rows))
        found += ks_2samp(reference, window).pvalue <= limit

    assert 200 <= rows <= 400
    assert found >= 193  # 198 expected; fewer than 193 has probability below 1 %


def test_too_few_rows_are_refused_with_the_number_needed() -> None:
    reference, window = frames(rows=40)

    with pytest.raises(DataError, match=r"40 rows, too few to judge: 2\d\d are needed against 4000") as caught:
        detect(reference, window, window_name="tiny")
    assert "replay 2" in caught.value.hint


def test_a_reference_too_small_for_any_window_says_how_many_rows_it_needs() -> None:
    reference, window = frames()

    with pytest.raises(DataError, match="reference has 100 rows"):
        detect(reference.head(100), window, window_name="w")
    assert rows_needed(100, 1, DriftPolicy()) is None


def test_a_column_missing_from_the_window_is_named() -> None:
    reference, window = frames()

    with pytest.raises(DataError, match=r"lacks 'prediction' of the reference \(it has 'x'\)"):
        detect(reference.assign(prediction=0.5), window, window_name="w")


def test_words_where_the_reference_has_numbers_are_refused_by_column() -> None:
    reference, window = frames()

    with pytest.raises(DataError, match="Column 'x' of drift window 'w' is not numeric"):
        detect(reference, window.assign(x="many"), window_name="w")


def test_a_reference_without_columns_is_refused() -> None:
    with pytest.raises(DataError, match="no columns"):
        detect(pd.DataFrame(index=range(4_000)), pd.DataFrame(index=range(500)), window_name="w")


def test_the_process_entry_hands_its_error_to_the_reader(tmp_path: Path) -> None:
    main(f'{{"reference": "{tmp_path}/absent.parquet", "windows": []}}', str(tmp_path / "drift.json"))

    with pytest.raises(DataError, match=r"cannot read .*absent\.parquet"):
        read_answer(tmp_path / "drift.json")
