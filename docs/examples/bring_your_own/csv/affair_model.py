"""Whether a married woman reports an affair: a tree first, then boosted trees."""

from __future__ import annotations

import pandas as pd
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.tree import DecisionTreeClassifier


def train(
    features: pd.DataFrame, target: pd.Series, *, trees: int = 1, **params: int
) -> DecisionTreeClassifier | GradientBoostingClassifier:
    """A fitted classifier; `target` is 1 for the positive class that rehearsal.toml names."""
    if trees == 1:
        return DecisionTreeClassifier(random_state=0, **params).fit(features, target)
    return GradientBoostingClassifier(n_estimators=trees, random_state=0, **params).fit(features, target)
