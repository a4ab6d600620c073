"""A model as a replica loads it: how fast it answers is decided here, by what the model can take."""

from __future__ import annotations

from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.models import infer_signature
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeRegressor

from harness.components._sklearn_model import ServedModel, load

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # MLflow's advice

ROWS = pd.DataFrame({"age": [20.0, 30.0, 40.0], "children": [0.0, 2.0, np.nan]})


@pytest.mark.parametrize("example", [ROWS, ROWS.iloc[::-1], ROWS.dropna()], ids=["last", "first", "none"])
def test_a_gap_in_the_models_example_does_not_make_it_slow(example: pd.DataFrame, tmp_path: Path) -> None:
    """Single rows go to the estimator as arrays, twice as fast as DataFrames, wherever the example has a gap."""
    served = saved(example, tmp_path)
    assert (served.on_arrays, served.gaps_on_arrays) == (True, True)


def test_an_example_of_gaps_alone_shows_nothing(tmp_path: Path) -> None:
    """Then the model is asked with DataFrames, as it was trained."""
    assert not saved(ROWS.assign(children=np.nan), tmp_path).on_arrays


def saved(example: pd.DataFrame, folder: Path) -> ServedModel:
    """A fitted model, saved with this example, and loaded."""
    model = make_pipeline(SimpleImputer(keep_empty_features=True), DecisionTreeRegressor()).fit(ROWS, [1.0, 2.0, 3.0])
    mlflow.sklearn.save_model(
        model,
        str(folder / "model"),
        serialization_format="cloudpickle",
        signature=infer_signature(example, model.predict(example)),
        input_example=example,
        pip_requirements=["scikit-learn"],
    )
    return load(str(folder / "model"), folder / "models")
