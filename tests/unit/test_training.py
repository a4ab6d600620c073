"""Training with our estimators or a user's function: what it returns, and how its failures are told."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.errors import ConfigError, RehearsalError, TrainingFailed, TrainingFunctionError
from harness.lifecycle import model
from harness.lifecycle.features import Features, RawColumns
from harness.lifecycle.search import best, check_space, search
from harness.lifecycle.training import default_params, default_space, fit

FEATURES = pd.DataFrame({"age": np.linspace(-2, 2, 200), "noise": np.tile([0.1, -0.1], 100)})
TARGET = pd.Series((FEATURES["age"] > 0).astype(int))


def train(
    estimator: str, task: str = "classification", deadline_s: float = 30, root: Path | None = None, **params: Any
) -> Any:
    where = str(root) if root else None
    return fit(estimator, task, params, FEATURES, TARGET, seed=7, deadline_s=deadline_s, source_root=where)


def module(folder: Path, name: str, body: str) -> str:
    (folder / f"{name}.py").write_text(
        f"import time\ndef train(features, target, **params):\n    {body}\n", encoding="utf-8"
    )
    return f"{name}:train"


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("estimator", ["decision-tree", "logistic-regression", "gradient-boosting"])
def test_each_estimator_learns_either_task(estimator: str, task: str) -> None:
    """The three estimators fit an easy target, with the search space's first names accepted."""
    fitted = train(estimator, task)
    assert np.mean((fitted.predict(FEATURES.to_numpy()) > 0.5) == TARGET) > 0.9
    assert set(default_space(estimator, task)) <= set(fitted.get_params())


def test_an_unknown_parameter_is_refused_with_the_allowed_ones() -> None:
    """A misspelt hyper-parameter is named before anything is fitted."""
    with pytest.raises(ConfigError, match=r"decision-tree has no max_dept; allowed: .*max_depth"):
        train("decision-tree", max_dept=3)
    with pytest.raises(ConfigError, match="max_depth"):
        train("decision-tree", max_depth="deep")


def test_only_the_users_own_parameters_are_blamed_for_a_fit_that_fails() -> None:
    """Rows that no tree takes: with the default parameters they are at fault, and no parameter is."""
    features = FEATURES.assign(age=np.inf)
    given: dict[str, Any] = {"seed": 7, "deadline_s": 30}
    with pytest.raises(TrainingFailed, match="Classifier cannot be fitted to these rows: Input X contains inf"):
        fit("decision-tree", "classification", default_params("decision-tree"), features, TARGET, **given)
    with pytest.raises(ConfigError, match=r"params of DecisionTreeClassifier \(max_depth\): .*'max_depth'"):
        fit("decision-tree", "classification", {"max_depth": -1}, FEATURES, TARGET, **given)


FAILING: dict[str, tuple[str, type[RehearsalError], str]] = {
    "raises": ("raise KeyError('bmi')", TrainingFunctionError, r"raised KeyError: 'bmi' \(.*user_raises.py:3\)"),
    "exits": ("raise SystemExit(3)", TrainingFunctionError, "raised SystemExit: 3"),
    "returns nothing": ("pass", TrainingFunctionError, "returned nothing"),
    "returns a number": ("return 3", TrainingFunctionError, "returned int, which has no predict"),
    "hangs": ("time.sleep(60)", TrainingFunctionError, "user_hangs:train did not finish within 0.3 s"),
    "hangs in a loop": ("while True: pass", TrainingFunctionError, "did not finish within 0.3 s"),
}


@pytest.mark.parametrize("case", FAILING)
def test_a_failing_function_is_named_with_its_cause(tmp_path: Path, case: str) -> None:
    """The user reads which function failed, why and in which line."""
    body, kind, message = FAILING[case]
    entry_point = module(tmp_path, f"user_{case.replace(' ', '_')}", body)
    with pytest.raises(kind, match=message) as caught:
        train(entry_point, deadline_s=0.3, root=tmp_path)
    assert entry_point in caught.value.message


def test_a_hang_below_python_ends_the_process(tmp_path: Path) -> None:
    """C code that holds the interpreter sees no signal; the process ends a little after its deadline all the same."""
    body = "import itertools; sum(itertools.repeat(1))"
    entry_point = module(tmp_path, "user_c_hang", body)
    code = (
        "import sys; import pandas as pd; from harness.lifecycle import training; training._AFTER_DEADLINE_S = 0.2\n"
        "training.fit(sys.argv[1], 'classification', {}, pd.DataFrame(), pd.Series(), seed=1, deadline_s=0.2,"
        " source_root=sys.argv[2])"
    )
    start = time.monotonic()
    argv = [sys.executable, "-c", code, entry_point, str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Timeout")
    assert "user_c_hang.py" in done.stderr
    assert time.monotonic() - start < 40


def test_a_function_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    """Module, function and import errors are three different messages."""
    module(tmp_path, "user_there", "pass")
    (tmp_path / "user_broken.py").write_text("import nowhere_to_be_found\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="user_there has no function 'fit'; it has: train"):
        train("user_there:fit", root=tmp_path)
    with pytest.raises(ConfigError, match="no module 'user_gone'"):
        train("user_gone:train", root=tmp_path)
    with pytest.raises(TrainingFunctionError, match="No module named 'nowhere_to_be_found'"):
        train("user_broken:train", root=tmp_path)


def test_a_users_model_loads_without_the_users_repository(tmp_path: Path) -> None:
    """The model carries the user's class with it, and needs predict only."""
    (tmp_path / "user_model.py").write_text(
        "class Mean:\n"
        "    def __init__(self, value): self.value = value\n"
        "    def predict(self, rows): return [self.value] * len(rows)\n"
        "def train(features, target): return Mean(float(target.mean()))\n",
        encoding="utf-8",
    )
    fitted = train("user_model:train", root=tmp_path)
    whole = model.assemble(RawColumns().fit(FEATURES), model.UserModel(fitted))
    model.dump(whole, tmp_path / "model.pkl", str(tmp_path))
    code = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')).predict([[1.0, 2.0], [3.0, 4.0]]).tolist())"
    argv = [sys.executable, "-c", code, str(tmp_path / "model.pkl")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, cwd="/", check=False)
    assert done.stdout.strip() == "[0.5, 0.5]", done.stderr


def test_a_model_that_cannot_be_pickled_is_told(tmp_path: Path) -> None:
    """An open file inside of a model cannot travel."""
    with (tmp_path / "x").open("w") as file, pytest.raises(TrainingFunctionError, match="cannot be pickled"):
        model.dump(model.UserModel(file), tmp_path / "model.pkl")


def test_the_served_pipeline_answers_a_single_row_like_a_whole_frame() -> None:
    """What is served one by one equals what was judged offline."""
    features = Features().fit(FEATURES)
    fitted = fit(
        "gradient-boosting",
        "classification",
        {},
        pd.DataFrame(features.transform(FEATURES)),
        TARGET,
        seed=7,
        deadline_s=30,
    )
    whole = model.assemble(features, fitted)
    many = whole.predict_proba(FEATURES)[:, 1]
    one = [whole.predict_proba([list(row)])[0, 1] for row in FEATURES.head(10).itertuples(index=False)]
    assert one == many[:10].tolist()


def test_a_search_is_repeatable_and_keeps_to_its_space() -> None:
    """The same seed tries the same parameters; whole ends give whole numbers."""
    space = {"depth": {"low": 2, "high": 9}, "rate": {"low": 0.01, "high": 1.0, "log": True}, "kind": ["a", "b"]}
    first, again = (search(lambda p: -abs(p["depth"] - 5), space, trials=8, seed=3) for _ in range(2))
    assert [each.params for each in first] == [each.params for each in again]
    assert all(isinstance(each.params["depth"], int) and 0.01 <= each.params["rate"] <= 1 for each in first)
    assert best(first).value == max(each.value for each in first)
    other = search(lambda p: 0.0, space, trials=8, seed=4)
    assert [each.params for each in other] != [each.params for each in first]


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ([], r"depth: expected \[choices\]"),
        (3, "depth: expected"),
        ({"low": 1}, "depth: expected"),
        ({"low": 3, "high": 1}, "low must be a number no greater than high"),
        ({"low": 0, "high": 1, "log": True}, "a log scale needs low above 0"),
    ],
)
def test_a_bad_search_space_is_refused_by_name(choices: Any, message: str) -> None:
    """The parameter is named."""
    with pytest.raises(ConfigError, match=message):
        check_space({"depth": choices})
