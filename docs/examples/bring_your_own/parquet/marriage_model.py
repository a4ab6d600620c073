"""For how many years a woman is married: a shallow tree first, then a ridge regression."""

from __future__ import annotations

import pandas as pd
from sklearn.linear_model import Ridge
from sklearn.tree import DecisionTreeRegressor


def train(
    features: pd.DataFrame, target: pd.Series, *, depth: int = 0, alpha: float = 1.0
) -> DecisionTreeRegressor | Ridge:
    """A fitted regressor: a tree of this depth, or a ridge regression if `depth` is 0."""
    if depth:
        return DecisionTreeRegressor(max_depth=depth, random_state=0).fit(features, target)
    return Ridge(alpha=alpha).fit(features, target)
