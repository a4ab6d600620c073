"""Models that train well and serve badly, for scenarios in which a canary must be rolled back."""

from __future__ import annotations

import random
import time
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.tree import DecisionTreeClassifier


class Erring(ClassifierMixin, BaseEstimator):
    """A tree that raises for a share of the single rows it is asked about."""

    def __init__(self, share: float = 0.1) -> None:
        self.share = share

    def fit(self, features: Any, target: Any) -> Erring:
        self.tree_ = DecisionTreeClassifier(max_depth=4).fit(features, target)
        self.classes_ = self.tree_.classes_
        return self

    def predict(self, features: Any) -> Any:
        return self.tree_.predict(features)

    def predict_proba(self, features: Any) -> Any:
        if len(features) == 1 and random.random() < self.share:
            raise RuntimeError("feature store: connection reset")
        return self.tree_.predict_proba(features)


class Dawdling(Erring):
    """A tree that takes a while for a single row."""

    def __init__(self, seconds: float = 0.1) -> None:
        super().__init__(share=0.0)
        self.seconds = seconds

    def predict_proba(self, features: Any) -> Any:
        if len(features) == 1:
            time.sleep(self.seconds)
        return self.tree_.predict_proba(features)


def errs(features: pd.DataFrame, target: pd.Series, share: float = 0.1) -> Erring:
    """Train a model that fails a share of the requests it is asked one row in."""
    return Erring(share).fit(features, target)


def dawdles(features: pd.DataFrame, target: pd.Series, seconds: float = 0.1) -> Dawdling:
    """Train a model that takes `seconds` for a request of one row."""
    return Dawdling(seconds).fit(features, target)


class Guessing(ClassifierMixin, BaseEstimator):
    """Answers every row with the same small noise around the share of positives, whatever the row says."""

    def fit(self, features: Any, target: Any) -> Guessing:
        self.classes_ = np.unique(target)
        self.share_ = float(np.mean(target))
        return self

    def predict_proba(self, features: Any) -> Any:
        table = np.asarray(features, dtype=float)
        noise = np.modf(np.abs(np.sin(table.sum(axis=1) * 12.9898)) * 43758.5453)[0]
        positive = np.clip(self.share_ * (0.9 + 0.2 * noise), 0.0, 1.0)
        return np.column_stack([1 - positive, positive])

    def predict(self, features: Any) -> Any:
        return self.classes_[(self.predict_proba(features)[:, 1] >= 0.5).astype(int)]


def guesses(features: pd.DataFrame, target: pd.Series) -> Guessing:
    """Train a model that has learned nothing but how many are positive."""
    return Guessing().fit(features, target)
