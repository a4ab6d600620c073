"""The served model: one scikit-learn Pipeline of features and estimator, and its pickle.

Heavy: imports scikit-learn.
"""

from __future__ import annotations

import pickle
import sys
import sysconfig
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.metaestimators import available_if

from harness.errors import TrainingFunctionError


def _has_probabilities(wrapped: Any) -> bool:
    return callable(getattr(wrapped.model, "predict_proba", None))


class UserModel(BaseEstimator):
    """Whatever a training function returned, as a fitted estimator; it needs `predict` only."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def fit(self, rows: Any, target: Any = None) -> UserModel:
        return self

    def predict(self, rows: Any) -> Any:
        return np.asarray(self.model.predict(rows)).reshape(len(rows))

    @property
    def classes_(self) -> Any:
        """The wrapped model's classes, if it has them: with two, a server answers the positive one's probability."""
        return self.model.classes_

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]  # scikit-learn has no types
    def predict_proba(self, rows: Any) -> Any:
        return np.asarray(self.model.predict_proba(rows))

    def __sklearn_is_fitted__(self) -> bool:
        return True


def assemble(features: Any, model: Any) -> Pipeline:
    """The pipeline that is registered and served: raw columns in, predictions out."""
    return Pipeline([("features", features), ("model", model)])


def dump(model: Any, path: str | Path, source_root: str | None = None) -> None:
    """Pickles a model so that it loads where neither Rehearsal nor the user's repository is installed."""
    pickle_by_value(source_root)
    try:
        content = cloudpickle.dumps(model)
    except Exception as error:  # a user's object may raise anything from its own pickling
        raise TrainingFunctionError(
            f"what the training function returned cannot be pickled: {type(error).__name__}: {error}",
            hint="keep locks, open files and sessions out of the model.",
        ) from error
    Path(path).write_bytes(content)


def load(path: str | Path) -> Any:
    """A model that `dump` wrote; only for files of this run's own cache, because unpickling runs code."""
    return pickle.loads(Path(path).read_bytes())


def pickle_by_value(source_root: str | None) -> None:
    """Makes cloudpickle carry our transformer and the user's modules inside the model."""
    from harness.lifecycle import features

    for module in (features, sys.modules[__name__]):
        cloudpickle.register_pickle_by_value(module)
    if source_root is None:
        return
    root, installed = Path(source_root).resolve(), Path(sysconfig.get_path("purelib")).resolve()
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if not file or module.__name__.partition(".")[0] in ("harness", "__main__"):
            continue
        path = Path(file).resolve()
        if path.is_relative_to(root) and not path.is_relative_to(installed):
            cloudpickle.register_pickle_by_value(module)
