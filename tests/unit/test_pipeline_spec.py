"""What a pipeline is asked: specs survive JSON, bad ones are refused, and cached steps know of no run and no server."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ConfigError, DataError
from harness.lifecycle import pipeline, steps
from harness.lifecycle.dataset import Dataset, high_utiliser, source_digest
from harness.lifecycle.spec import GatePolicy, GateSpec, TrainingSpec

LIFECYCLE = "harness.lifecycle"
SPEC = TrainingSpec(high_utiliser(), "model", "http://127.0.0.1:1", "experiment", "/run/a", params={"max_depth": 3})


def test_specs_survive_json() -> None:
    """They cross process borders."""
    assert TrainingSpec.from_json(SPEC.to_json()) == SPEC
    gate = GateSpec(
        "model", 2, 1, "http://127.0.0.1:1", "/run/heldout.parquet", high_utiliser(), GatePolicy(margin=0.02)
    )
    assert GateSpec.from_json(gate.to_json()) == gate


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (
            {"estimator": "random-forest"},
            "expected decision-tree, logistic-regression, gradient-boosting or a training",
        ),
        ({"estimator": "module:"}, "a training function module:function"),
        ({"trials": -1}, "trials must be 0 or more"),
        ({"deadline_s": 0}, "deadline_s above 0"),
        ({"features": "raw"}, "raw is for a training function; decision-tree takes engineered"),
    ],
)
def test_a_bad_spec_is_refused_with_what_is_allowed(choices: dict[str, Any], message: str) -> None:
    """Before a process is started for it."""
    with pytest.raises(ConfigError, match=message):
        replace(SPEC, **choices)


def test_what_the_cached_steps_are_asked_depends_on_the_data_alone() -> None:
    """Another run folder, server, model or parameter must hit; another threshold must miss."""
    names = ("dataset", "source_digest", "seed", "ingest_code", "validate_code", "features_code")

    def cached(spec: TrainingSpec) -> dict[str, Any]:
        return {name: pipeline.arguments(spec)[name] for name in names}

    other: dict[str, Any] = {
        "run_folder": "/run/b",
        "tracking_uri": "http://127.0.0.1:2",
        "model_name": "b",
        "params": {},
    }
    assert cached(replace(SPEC, **other)) == cached(SPEC)
    assert cached(replace(SPEC, dataset=high_utiliser(8))) != cached(SPEC)
    assert "/run/a" not in json.dumps(pipeline.arguments(SPEC))


def test_a_changed_file_misses_the_cache_under_the_same_path(tmp_path: Path) -> None:
    """The file's content is a part of the key, its path alone would hide a change."""
    path = tmp_path / "a.csv"
    mine = replace(SPEC, dataset=Dataset("mine", str(path), "y"))
    path.write_text("x,y\n1,2\n", encoding="utf-8")
    before = pipeline.arguments(mine)
    path.write_text("x,y\n1,3\n", encoding="utf-8")
    assert pipeline.arguments(mine)["source_digest"] != before["source_digest"]


def test_a_changed_library_misses_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A component's own text does not change when the function that it calls does."""
    (tmp_path / "some_step_code.py").write_text("A = 1\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    before = pipeline.code_digest(["some_step_code"])
    (tmp_path / "some_step_code.py").write_text("A = 2\n", encoding="utf-8")
    assert pipeline.code_digest(["some_step_code"]) != before


def test_asking_for_a_pipeline_imports_nothing_heavy() -> None:
    """The facade's process stays light."""
    heavy = {"mlflow", "kfp", "sklearn", "pandas", "pyarrow", "scipy", "optuna", "pandera", "numpy"}
    code = (
        "import sys, harness.lifecycle.spec, harness.lifecycle.pipeline, harness.clients.mlflow\n"
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("step", "function"), [("ingest", steps.ingest), ("validate", steps.validate), ("features", steps.engineer)]
)
def test_a_cached_steps_key_holds_every_module_that_it_imports(step: str, function: Callable[..., Any]) -> None:
    """A changed library must miss the cache."""
    imports = [node for node in ast.walk(ast.parse(inspect.getsource(function))) if isinstance(node, ast.ImportFrom)]
    whole = {f"{LIFECYCLE}.{each.name}" for node in imports if node.module == LIFECYCLE for each in node.names}
    parts = {str(node.module) for node in imports if str(node.module).startswith(f"{LIFECYCLE}.")}
    assert whole | parts
    assert whole | parts <= set(pipeline._CODE[step])


def test_a_file_that_changed_after_its_digest_was_taken_is_refused(tmp_path: Path) -> None:
    """Else the new rows would be cached under the old rows' key."""
    source = tmp_path / "rows.csv"
    rows = [f"{number},{number % 2}" for number in range(100)]
    source.write_text("\n".join(["age,ill", *rows]))
    dataset = Dataset("rows", str(source), "ill")
    digest = source_digest(dataset)
    steps.ingest(dataset.to_json(), digest, str(tmp_path / "before.parquet"))
    source.write_text("\n".join(["age,ill", *rows, "100,1"]))
    with pytest.raises(DataError, match=r"rows\.csv: it was changed meanwhile"):
        steps.ingest(dataset.to_json(), digest, str(tmp_path / "after.parquet"))
    assert not (tmp_path / "after.parquet").exists()
