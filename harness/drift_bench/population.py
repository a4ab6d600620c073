"""A made-up population whose truth is known: eleven columns that depend on each other, a prediction, a label.

Of it any number of fresh windows can be drawn, which no data file gives. Heavy: numpy, pandas.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.lifecycle.drift import LABEL, PREDICTION

Array = npt.NDArray[np.float64]

PLANS = ("basic", "gold", "none")


def draw(rng: np.random.Generator, rows: int) -> pd.DataFrame:
    """Rows of the unshifted population, without prediction and label."""
    age = rng.normal(50.0, 12.0, rows)
    weight = 75.0 + 0.4 * (age - 50.0) + rng.normal(0.0, 10.0, rows)
    pressure = 120.0 + 0.6 * (age - 50.0) + 0.3 * (weight - 75.0) + rng.normal(0.0, 8.0, rows)
    return pd.DataFrame(
        {
            "age": age,
            "weight": weight,
            "pressure": pressure,
            "income": rng.lognormal(10.0, 0.6, rows),
            "sleep": rng.normal(7.0, 1.0, rows),
            "activity": rng.beta(2.0, 5.0, rows),
            "glucose": np.where(rng.random(rows) < 0.05, np.nan, rng.gamma(9.0, 10.0, rows)),
            "visits": rng.poisson(2.5, rows).astype(float),
            "smoker": (rng.random(rows) < 0.25).astype(float),
            "plan": rng.choice(PLANS, rows, p=(0.6, 0.3, 0.1)),
            "region": rng.choice(["north", "east", "south", "west"], rows),
        }
    )


def chance(features: pd.DataFrame) -> Array:
    """The true probability of the label, which is also what the model predicts."""
    glucose = features["glucose"].fillna(90.0)
    score = (
        -1.2
        + 0.04 * (features["age"] - 50.0)
        + 0.02 * (features["pressure"] - 120.0)
        + 0.01 * (glucose - 90.0)
        + 0.8 * features["smoker"]
        - 1.5 * (features["activity"] - 0.3)
        + 0.5 * (features["plan"] == "none")
    )
    return np.asarray(1.0 / (1.0 + np.exp(-score)), dtype=np.float64)


def labelled(rng: np.random.Generator, features: pd.DataFrame, truth: Array | None = None) -> pd.DataFrame:
    """The rows with what the model says of them, and a label drawn from `truth` (by default the model is right)."""
    predicted = chance(features)
    happened = rng.random(len(features)) < (predicted if truth is None else truth)
    return features.assign(**{PREDICTION: predicted, LABEL: happened.astype(float)})
