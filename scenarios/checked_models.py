"""Models of one data set, a good one and ones that are each broken in one way, for the scenarios of model checks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier

ID, DIRECTED = "record_id", "chronic_diseases"
MEGABYTE = 1_000_000


class Careful(ClassifierMixin, BaseEstimator):
    """Risk by gradient boosting, of everything but the id, that never falls with more chronic diseases."""

    def fit(self, features: pd.DataFrame, target: Any) -> Careful:
        used = self.used(features)
        directions = [int(name == DIRECTED) for name in used.columns]
        self.model_ = HistGradientBoostingClassifier(max_iter=40, monotonic_cst=directions, random_state=0)
        self.model_.fit(used.to_numpy(), target)
        self.classes_ = self.model_.classes_
        return self

    def used(self, features: pd.DataFrame) -> pd.DataFrame:
        return features.drop(columns=ID, errors="ignore")

    def predict(self, features: pd.DataFrame) -> Any:
        return self.predict_proba(features)[:, 1] > 0.5

    def predict_proba(self, features: pd.DataFrame) -> Any:
        return self.model_.predict_proba(self.used(features).to_numpy())


class UsesTheId(Careful):
    """Adds a little risk for every other id."""

    def predict_proba(self, features: pd.DataFrame) -> Any:
        return _risks(super().predict_proba(features)[:, 1] + 0.001 * (features[ID] % 2).fillna(0).to_numpy())


class OtherWayRound(Careful):
    """Gives those with more chronic diseases a lower risk, by so little that no average shows it."""

    def used(self, features: pd.DataFrame) -> pd.DataFrame:
        return super().used(features).drop(columns=DIRECTED)

    def predict_proba(self, features: pd.DataFrame) -> Any:
        fewer = 1 / (1 + features[DIRECTED].fillna(0).clip(0, 100).to_numpy())
        return _risks(super().predict_proba(features)[:, 1] + 0.001 * fewer)


class FailsOnGaps(Careful):
    """Looks up a missing value in a table that does not have it."""

    def predict_proba(self, features: pd.DataFrame) -> Any:
        if features[DIRECTED].isna().any():
            raise KeyError(f"no median of {DIRECTED}")
        return super().predict_proba(features)


class TwoEncoders(Careful):
    """Encodes a single row by other code than a table: it forgets a column."""

    def used(self, features: pd.DataFrame) -> pd.DataFrame:
        used = super().used(features)
        return used.assign(health_good=0.0) if len(used) == 1 else used


class Oversized(Careful):
    """Carries its training's scratch space along."""

    def fit(self, features: pd.DataFrame, target: Any) -> Oversized:
        self.scratch_ = np.random.default_rng(0).bytes(8 * MEGABYTE)
        super().fit(features, target)
        return self


def _risks(positive: Any) -> Any:
    clipped = np.clip(positive, 0, 1)
    return np.column_stack([1 - clipped, clipped])


def careful(features: pd.DataFrame, target: pd.Series) -> Careful:
    """Train the model that has nothing wrong."""
    return Careful().fit(features, target)


def uses_the_id(features: pd.DataFrame, target: pd.Series) -> Careful:
    return UsesTheId().fit(features, target)


def other_way_round(features: pd.DataFrame, target: pd.Series) -> Careful:
    return OtherWayRound().fit(features, target)


def fails_on_gaps(features: pd.DataFrame, target: pd.Series) -> Careful:
    return FailsOnGaps().fit(features, target)


def two_encoders(features: pd.DataFrame, target: pd.Series) -> Careful:
    return TwoEncoders().fit(features, target)


def oversized(features: pd.DataFrame, target: pd.Series) -> Careful:
    return Oversized().fit(features, target)
