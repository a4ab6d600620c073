"""Fitting one model: the estimators that come with Rehearsal, or the user's own training function."""

from __future__ import annotations

import faulthandler
import importlib
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from harness.errors import ConfigError, TrainingFailed, TrainingFunctionError
from harness.lifecycle.spec import ESTIMATORS

if TYPE_CHECKING:
    import pandas as pd

_AFTER_DEADLINE_S = 2.0
_DEFAULTS: dict[str, dict[str, Any]] = {
    "decision-tree": {"max_depth": 2},
    "logistic-regression": {"max_iter": 1000},
    "gradient-boosting": {"max_iter": 50, "learning_rate": 0.15, "max_leaf_nodes": 31, "early_stopping": False},
}
_SPACES: dict[str, dict[str, Any]] = {
    "decision-tree": {"max_depth": {"low": 2, "high": 8}, "min_samples_leaf": {"low": 5, "high": 100, "log": True}},
    "logistic-regression": {"C": {"low": 0.01, "high": 10.0, "log": True}},
    "gradient-boosting": {
        "learning_rate": {"low": 0.08, "high": 0.3, "log": True},
        "max_leaf_nodes": {"low": 15, "high": 63},
        "min_samples_leaf": {"low": 10, "high": 60},
    },
}


def default_params(estimator: str) -> dict[str, Any]:
    """What an estimator is fitted with unless the spec says otherwise; nothing for a user's function."""
    return dict(_DEFAULTS.get(estimator, {}))


def default_space(estimator: str, task: str) -> dict[str, Any]:
    """The search space of an estimator that comes with Rehearsal; empty for a user's function."""
    if estimator == "logistic-regression" and task == "regression":
        return {"alpha": {"low": 0.01, "high": 100.0, "log": True}}
    return dict(_SPACES.get(estimator, {}))


def build(estimator: str, task: str, params: Mapping[str, Any], seed: int) -> Any:
    """An unfitted scikit-learn estimator; raises ConfigError when it does not know a parameter."""
    kind = _class(estimator, task)
    known = set(kind().get_params())
    given = {**_DEFAULTS[estimator], **params}
    if unknown := sorted(set(given) - known):
        if set(unknown) & set(params):
            raise ConfigError(f"params: {estimator} has no {', '.join(unknown)}; allowed: {', '.join(sorted(known))}")
        given = {name: value for name, value in given.items() if name in known}
    seeded = {"random_state": seed} if "random_state" in known else {}
    return kind(**{**seeded, **given})


def fit(
    estimator: str,
    task: str,
    params: Mapping[str, Any],
    features: pd.DataFrame,
    target: pd.Series,
    *,
    seed: int,
    deadline_s: float,
    source_root: str | None = None,
) -> Any:
    """A fitted object with `predict`; raises TrainingFunctionError if the user's function fails."""
    if estimator in ESTIMATORS:
        defaults = default_params(estimator)
        own = [name for name, value in params.items() if name not in defaults or value != defaults[name]]
        return _fitted(build(estimator, task, params, seed), features.to_numpy(), target, own)
    function = load_entry_point(estimator, source_root)
    with deadline(deadline_s, f"training function {estimator}"):
        try:
            model = function(features, target, **params)
        except TrainingFunctionError:
            raise
        except (Exception, SystemExit) as error:
            raise TrainingFunctionError(
                f"training function {estimator} raised {type(error).__name__}: {error} ({_where(error)})",
                hint="run it on its own with the same file; the pipeline's log has the traceback.",
            ) from error
    return _checked(model, estimator, features, task)


def _fitted(model: Any, features: Any, target: pd.Series, own: Sequence[str]) -> Any:
    """The fitted model; ConfigError blames the params that are the user's `own`, TrainingFailed the data.

    One thread: a second gains nothing at this size, and on a busy machine OpenMP threads spin while they wait.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        try:
            return model.fit(features, target.to_numpy())
        except ValueError as error:
            kind, reason = type(model).__name__, str(error).splitlines()[0]
            if own:
                raise ConfigError(f"params of {kind} ({', '.join(own)}): {reason}") from error
            raise TrainingFailed(f"{kind} cannot be fitted to these rows: {reason}") from error


def load_entry_point(entry_point: str, source_root: str | None) -> Callable[..., Any]:
    """The function that "module:function" names, looked up in `source_root` first."""
    if source_root and source_root not in sys.path:
        sys.path.insert(0, source_root)
    module_name, _, name = entry_point.partition(":")
    where = f"training function {entry_point}"
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name == module_name or module_name.startswith(f"{error.name}."):
            looked = source_root or "the installed packages"
            raise ConfigError(f"{where}: no module {module_name!r} in {looked}") from error
        raise TrainingFunctionError(f"{where}: importing {module_name} failed: {error}") from error
    except TrainingFunctionError:
        raise
    except (Exception, SystemExit) as error:
        raise TrainingFunctionError(
            f"{where}: importing {module_name} raised {type(error).__name__}: {error} ({_where(error)})"
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        there = ", ".join(key for key, value in vars(module).items() if callable(value) and not key.startswith("_"))
        raise ConfigError(f"{where}: {module_name} has no function {name!r}; it has: {there or 'none'}")
    return function  # type: ignore[no-any-return]


@contextmanager
def deadline(seconds: float, what: str) -> Iterator[None]:
    """Raises TrainingFunctionError in the body after `seconds`; a body that never returns to Python ends the process.

    Only in the main thread, where signals arrive; elsewhere it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def expire(signum: int, frame: FrameType | None) -> None:
        raise TrainingFunctionError(
            f"{what} did not finish within {seconds:g} s", hint="raise the deadline, or train on fewer rows."
        )

    before = signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    # C code that holds the interpreter never sees the signal: the watchdog's own thread does not need the interpreter.
    faulthandler.dump_traceback_later(seconds + _AFTER_DEADLINE_S, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _class(estimator: str, task: str) -> Any:
    classifies = task == "classification"
    if estimator == "decision-tree":
        from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

        return DecisionTreeClassifier if classifies else DecisionTreeRegressor
    if estimator == "logistic-regression":
        from sklearn.linear_model import LogisticRegression, Ridge

        # The linear model of either task: a logistic regression of a number does not exist.
        return LogisticRegression if classifies else Ridge
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    return HistGradientBoostingClassifier if classifies else HistGradientBoostingRegressor


def _checked(model: Any, entry_point: str, features: pd.DataFrame, task: str) -> Any:
    import numpy as np

    where = f"training function {entry_point}"
    if model is None:
        raise TrainingFunctionError(f"{where} returned nothing", hint="return the fitted estimator.")
    if not callable(getattr(model, "predict", None)):
        raise TrainingFunctionError(
            f"{where} returned {type(model).__name__}, which has no predict", hint="return an estimator."
        )
    sample = features.head(5)
    try:
        answer = np.asarray(model.predict(sample), dtype=float)
    except Exception as error:
        raise TrainingFunctionError(
            f"{where}: predict of what it returned raised {type(error).__name__}: {error}"
        ) from error
    if answer.shape not in ((len(sample),), (len(sample), 1)):
        raise TrainingFunctionError(
            f"{where}: predict of {len(sample)} rows gave shape {answer.shape}, not ({len(sample)},)"
        )
    if task == "classification" and hasattr(model, "predict_proba"):
        shape = np.asarray(model.predict_proba(sample)).shape
        if shape != (len(sample), 2):
            raise TrainingFunctionError(f"{where}: predict_proba gave shape {shape}, not ({len(sample)}, 2)")
    return model


def _where(error: BaseException) -> str:
    """file:line of the innermost frame outside of installed packages."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [
        each for each in frames if "site-packages" not in each.filename and "/harness/lifecycle/" not in each.filename
    ]
    last = (own or list(frames))[-1]
    return f"{last.filename}:{last.lineno}"
