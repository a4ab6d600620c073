"""The catalogue: what may change in a population, by how much in the n-th window after it began."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.drift_bench.population import chance, draw, labelled
from harness.lifecycle.drift import LABEL

Make = Callable[[np.random.Generator, int, int], pd.DataFrame]
"""(generator, rows, number of the window since the shift began, from 0) -> labelled rows."""

DAY = 24
"""Windows of a season."""


@dataclass(frozen=True)
class Shift:
    """One entry: what it is in words, and the windows it makes."""

    name: str
    words: str
    make: Make


def unshifted(rng: np.random.Generator, rows: int, _: int) -> pd.DataFrame:
    return labelled(rng, draw(rng, rows))


def _changed(change: Callable[[np.random.Generator, pd.DataFrame, int], pd.DataFrame]) -> Make:
    def make(rng: np.random.Generator, rows: int, window: int) -> pd.DataFrame:
        return labelled(rng, change(rng, draw(rng, rows), window))

    return make


def _moved(by: Callable[[int], float]) -> Make:
    """`sleep` moved by so many standard deviations."""
    return _changed(lambda _, rows, window: rows.assign(sleep=rows["sleep"] + by(window)))


def _swap(_: np.random.Generator, rows: pd.DataFrame, __: int) -> pd.DataFrame:
    return rows.assign(plan=rows["plan"].replace({"gold": "none", "none": "gold"}))


def _lose(rng: np.random.Generator, rows: pd.DataFrame, _: int) -> pd.DataFrame:
    return rows.assign(glucose=rows["glucose"].where(rng.random(len(rows)) >= 0.2))


def _break(rng: np.random.Generator, rows: pd.DataFrame, _: int) -> pd.DataFrame:
    """Each person gets another one's weight: no column has other values than before."""
    return rows.assign(weight=rng.permutation(rows["weight"].to_numpy()))


def _more_positives(rng: np.random.Generator, rows: int, _: int) -> pd.DataFrame:
    """Label shift: of each class the same people, but half of all are positive."""
    pool = labelled(rng, draw(rng, 6 * rows))
    positive, negative = pool[pool[LABEL] == 1], pool[pool[LABEL] == 0]
    half = min(rows // 2, len(positive))
    chosen = pd.concat([positive.head(half), negative.head(rows - half)])
    return chosen.sample(frac=1, random_state=int(rng.integers(2**31))).reset_index(drop=True)


def _other_truth(rng: np.random.Generator, rows: int, _: int) -> pd.DataFrame:
    """Concept drift: the same people, but what the model says is half-way to a coin."""
    features = draw(rng, rows)
    return labelled(rng, features, 0.5 * chance(features) + 0.25)


CATALOGUE = (
    Shift("mean", "one column's mean moves by half a standard deviation", _moved(lambda _: 0.5)),
    Shift("scale", "one column's standard deviation grows by half",
          _changed(lambda _, rows, __: rows.assign(sleep=7.0 + 1.5 * (rows["sleep"] - 7.0)))),
    Shift("category swap", "two values of a text change places", _changed(_swap)),
    Shift("missing values", "a column is missing in 24 % of the rows instead of 5 %", _changed(_lose)),
    Shift("correlation break", "weight no longer goes with age and pressure; no column changes", _changed(_break)),
    Shift("slow ramp", "one column's mean moves by 0.05 standard deviations a window",
          _moved(lambda n: 0.05 * (n + 1))),
    Shift("seasonal", "one column's mean swings by half a standard deviation, a period of 24 windows",
          _moved(lambda n: 0.5 * math.sin(2 * math.pi * (n + 1) / DAY))),
    Shift("label shift", "half of the rows are positive instead of a third", _more_positives),
    Shift("concept", "the same rows, but labels follow the prediction half as closely", _other_truth),
)  # fmt: skip
