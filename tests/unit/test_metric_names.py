"""Metrics of slices keep their labels in MLflow as far as MLflow allows."""

from __future__ import annotations

import pytest
from mlflow.entities import Metric
from mlflow.utils.validation import _validate_metric_name

from harness.lifecycle.tracking import metric_name


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("auc_job=teacher, nurse", "auc_job teacher_ nurse"),
        ("rmse_age<=35.5", "rmse_age at most 35.5"),
        ("rmse_Größe (cm)>170", "rmse_Größe _cm_ above 170"),
        ("auc_path=../../a/b", "auc_path .._.._a_b"),
        ("auc_text=" + "x" * 400, "auc_text " + "x" * 241),
    ],
)
def test_a_slice_of_any_label_is_a_metric_that_mlflow_accepts(label: str, name: str) -> None:
    """A comma in a category once ended the pipeline."""
    assert metric_name(label) == name
    _validate_metric_name(Metric(name, 1.0, 0, 0).key)
