"""Hyper-parameter search: Optuna, seeded; pure but for the training it calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import ConfigError

if TYPE_CHECKING:
    import optuna

VALIDATION_SHARE = 0.2
"""Share of the training rows on which trials are compared; the held-out rows stay unseen."""


@dataclass(frozen=True)
class TrialResult:
    """One trial; `value` is the metric to maximise (AUC, or minus the RMSE); times are Unix seconds."""

    number: int
    params: dict[str, Any]
    value: float
    started_at: float
    ended_at: float


def check_space(space: Mapping[str, Any]) -> None:
    """Raises ConfigError, with the parameter's name, for a space that cannot be searched."""
    for name, choices in space.items():
        if isinstance(choices, list | tuple) and choices:
            continue
        if not isinstance(choices, Mapping) or not {"low", "high"} <= set(choices) <= {"low", "high", "log"}:
            raise ConfigError(f'space: {name}: expected [choices] or {{"low", "high"[, "log"]}}, got {choices!r}')
        low, high = choices["low"], choices["high"]
        if not all(isinstance(end, int | float) for end in (low, high)) or low > high:
            raise ConfigError(f"space: {name}: low must be a number no greater than high, got {low!r} and {high!r}")
        if choices.get("log") and low <= 0:
            raise ConfigError(f"space: {name}: a log scale needs low above 0, got {low!r}")


def search(
    objective: Callable[[dict[str, Any]], float], space: Mapping[str, Any], *, trials: int, seed: int
) -> list[TrialResult]:
    """Runs `trials` trials of `objective(params)` and returns all of them; the same seed gives the same parameters."""
    import optuna

    check_space(space)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=3))
    study.optimize(lambda trial: objective(_suggested(trial, space)), n_trials=trials)
    return [_result(trial) for trial in study.trials]


def best(results: list[TrialResult]) -> TrialResult:
    """The first of the best."""
    return max(results, key=lambda each: (each.value, -each.number))


def _result(trial: optuna.trial.FrozenTrial) -> TrialResult:
    start, end = trial.datetime_start, trial.datetime_complete
    assert trial.value is not None, trial
    assert start is not None, trial
    assert end is not None, trial
    return TrialResult(trial.number, dict(trial.params), trial.value, start.timestamp(), end.timestamp())


def _suggested(trial: optuna.Trial, space: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _suggest(trial, name, choices) for name, choices in space.items()}


def _suggest(trial: optuna.Trial, name: str, choices: Any) -> Any:
    if isinstance(choices, list | tuple):
        return trial.suggest_categorical(name, list(choices))
    low, high, log = choices["low"], choices["high"], bool(choices.get("log", False))
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(name, low, high, log=log)
    return trial.suggest_float(name, float(low), float(high), log=log)
