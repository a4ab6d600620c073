"""Thresholds from resamples: the same p-values as a verdict has, and no more false alarms than were stated."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from harness.errors import DataError, UsageError
from harness.lifecycle import _joint, calibration
from harness.lifecycle._comparison import Comparison, DriftPolicy, alone
from harness.lifecycle.calibration import PAIRS, QUALITY, Rate, calibrate
from harness.lifecycle.drift import judge

ROWS = 300


def population(rows: int, seed: int) -> pd.DataFrame:
    """Numbers that depend on each other, one with ties, one with gaps, a text, and a prediction."""
    rng = np.random.default_rng(seed)
    age = rng.normal(50, 10, rows)
    return pd.DataFrame(
        {
            "age": age,
            "weight": 70 + 0.5 * (age - 50) + rng.normal(0, 8, rows),
            "visits": rng.poisson(12, rows).astype(float),
            "gap": np.where(rng.random(rows) < 0.1, np.nan, rng.exponential(1.0, rows)),
            "plan": rng.choice(["basic", "gold", "none"], rows, p=[0.6, 0.3, 0.1]),
            "prediction": 1 / (1 + np.exp(-(age - 50) / 10)),
        }
    )


@pytest.fixture(scope="module")
def reference() -> pd.DataFrame:
    return population(4_000, 1)


def test_a_resample_has_the_p_values_that_its_verdict_would_have(reference: pd.DataFrame) -> None:
    """Windows drawn from the reference, judged against its other rows one by one, and all at once."""
    pair = alone(reference, DriftPolicy())
    titles = [*pair.methods, PAIRS]
    drawn = calibration._drawn(pair, None, ROWS, 20, seed=3)
    (windows,) = calibration._windows(len(reference), ROWS, 20, 3)
    checked = 0
    for index, chosen in enumerate(windows):
        rest = reference.drop(index=chosen)
        one = Comparison.unchecked(rest, reference.iloc[chosen], "w", DriftPolicy())
        for title in titles:
            if title == PAIRS:
                assert drawn[index, -1] == pytest.approx(_joint.judge(*one.raw)[0], rel=1e-6)
            elif title != "gap" and drawn[index, titles.index(title)] < 1:  # 1: not in the tail that matters
                assert drawn[index, titles.index(title)] == pytest.approx(one.p_value(title), rel=1e-6)
                checked += 1
    assert checked >= 30


def test_windows_of_the_same_population_alarm_no_more_often_than_stated(reference: pd.DataFrame) -> None:
    """200 fresh windows at a rate of one alarm in ten looks: more than 34 has probability 1e-3 at the bound itself."""
    found = calibrate(reference, Rate(false_alarms_per_day=2.4, looks_per_day=24), rows=ROWS)

    assert found.resampled
    assert found.found <= found.at_most <= 0.1
    alarms = sum(
        judge(reference, population(ROWS, seed), window_name="w", calibration=found)[0].drifted
        for seed in range(100, 300)
    )
    assert alarms <= 34
    assert alarms >= 3  # nor is a rate kept by never alarming


def test_thresholds_are_each_tests_own(reference: pd.DataFrame) -> None:
    losses = np.random.default_rng(5).random(len(reference)) ** 2
    found = calibrate(reference, Rate(2.4, 24), rows=ROWS, losses=losses)

    assert set(found.thresholds) >= {"age", "plan", "gap is missing", PAIRS, QUALITY}
    assert len(set(found.thresholds.values())) > 4


def test_a_rate_that_draws_cannot_show_is_kept_by_the_union_bound(reference: pd.DataFrame) -> None:
    """Looks each five seconds: the pairs, whose p-value is an approximation, get far less than the others."""
    found = calibrate(reference, Rate(false_alarms_per_day=0.1, looks_per_day=17_280), rows=ROWS)

    assert not found.resampled
    assert found.of("age") == pytest.approx(found.per_look / len(found.thresholds))
    assert found.of("a test that the reference lacks") == found.of("age")
    assert 0 < found.of(PAIRS) < found.of("age") / 2


def test_a_correlation_that_breaks_is_seen_by_the_pairs_alone(reference: pd.DataFrame) -> None:
    window = population(ROWS, 9)
    window["weight"] = window["weight"].sample(frac=1, random_state=1).to_numpy()
    found = calibrate(reference, Rate(0.1, 24), rows=ROWS)
    record, _ = judge(reference, window, window_name="w", calibration=found)

    assert [(column.column, column.note) for column in record.columns if column.drifted] == [(PAIRS, "age and weight")]


def test_quality_is_judged_by_the_labelled_rows(reference: pd.DataFrame) -> None:
    """Labels that the prediction says nothing of are worse; the same labels are not."""
    rng = np.random.default_rng(4)

    def labelled(frame: pd.DataFrame, *, random: bool) -> pd.DataFrame:
        chance = rng.random(len(frame)) if random else frame["prediction"].to_numpy()
        return frame.assign(label=(rng.random(len(frame)) < chance).astype(float))

    known = labelled(reference, random=False)
    losses = ((known["prediction"] - known["label"]) ** 2).to_numpy()
    found = calibrate(reference, Rate(0.1, 24), rows=ROWS, losses=losses)
    window = population(ROWS, 9)

    def drifted(random: bool) -> list[str]:
        rows = labelled(window, random=random)
        record, _ = judge(known, window, window_name="w", calibration=found, labelled=rows)
        assert QUALITY in {column.column for column in record.columns}
        return [column.column for column in record.columns if column.drifted]

    assert drifted(random=True) == [QUALITY]
    assert drifted(random=False) == []


def test_too_small_a_reference_and_impossible_rates_are_refused(reference: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="has 4000 rows; windows of 2001 rows need twice as many"):
        calibrate(reference, Rate(), rows=2_001)
    for rate in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="false_alarms_per_day: expected a number above 0"):
            Rate(false_alarms_per_day=rate)


def test_the_upper_bound_is_clopper_and_pearsons() -> None:
    """No alarm in 3,000 is at most one in a thousand (the rule of three)."""
    assert calibration.upper_bound(0, 2_995) == pytest.approx(1e-3, rel=1e-3)
    assert calibration.upper_bound(5, 5) == 1.0


def test_pairs_of_rare_values_alarm_no_more_often_than_a_rate_that_draws_cannot_show() -> None:
    """RAND data, 10,000 draws at 2e-4: 2 are expected at most. The p-value as it stands would alarm about 37 times."""
    from statsmodels.datasets import randhie

    people = randhie.load_pandas().data.drop(columns="mdvis").sample(8_000, random_state=1)
    limit = calibration._pairs_limit(people, 400, 2e-4, seed=0)
    null = calibration._pairs(people)
    z = np.concatenate([null.statistic(chosen) for chosen in calibration._windows(len(people), 400, 10_000, 99)])
    p_values = null.p_values(z)

    assert (p_values <= 2e-4).sum() > 20
    assert (p_values <= limit).sum() <= 8
