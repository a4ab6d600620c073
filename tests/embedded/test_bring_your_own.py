"""The documented examples run as documented: a user's data, a user's training function, a release that passes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.alone  # a canary under load is judged by its latency

EXAMPLES = Path(__file__).resolve().parents[2] / "docs/examples/bring_your_own"


def rehearse(folder: Path, *arguments: str) -> tuple[int, Any, str]:
    """Exit code, run record and standard error of `rehearse run --json`."""
    environment = {**os.environ, "REHEARSAL_STATE": str(folder / "state"), "REHEARSAL_RUNS": str(folder / "reports")}
    argv = [sys.executable, "-m", "harness.cli", "run", "--json", *arguments]
    done = subprocess.run(argv, env=environment, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, json.loads(done.stdout or "null"), done.stderr


@pytest.mark.parametrize(
    ("example", "estimator", "shifted"),
    [("csv", "affair_model:train", "years_married > 12"), ("parquet", "marriage_model:train", "`age` >= 32")],
)
def test_an_example_is_rehearsed_to_a_promotion(example: str, estimator: str, shifted: str, tmp_path: Path) -> None:
    """The user's function trained both versions on the user's rows, the better one became the champion, nothing was
    skipped; the report names the shifted window's condition, the given one or the automatic one.
    """
    code, record, errors = rehearse(tmp_path, "--config", str(EXAMPLES / example / "rehearsal.toml"))
    assert code == 0, errors
    assert {pipeline["rows"] + pipeline["quarantined_rows"] for pipeline in record["pipelines"]} == {6366}
    champion = next(model for model in record["models"] if "champion" in model["aliases"])
    assert estimator in champion["estimator"]
    assert record["rollouts"][-1]["outcome"] == "promoted"
    assert record["skips"] == []
    assert {window["window"]: window["where"] for window in record["drift"]} == {"control": "", "shifted": shifted}


@pytest.fixture(scope="module")
def awkward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """500 real rows with what files have: spaces and umlauts in names, text, gaps in numbers and in text."""
    rows = pd.read_parquet(EXAMPLES / "parquet/marriages.parquet").sample(500, random_state=1)
    rows = rows.rename(
        columns={"age": "Alter (in Jahren)", "occupation": "métier", "years_married": "Jahre verheiratet"}
    )
    random = np.random.default_rng(1)
    rows.loc[random.random(500) < 0.1, "children"] = np.nan
    rows.loc[random.random(500) < 0.05, "métier"] = None
    folder = tmp_path_factory.mktemp("awkward")
    rows.to_csv(folder / "rows.csv", index=False)
    long = rows.pop("Jahre verheiratet").gt(6).map({True: "ja", False: "nein"})
    rows.assign(**{"seit langem": long}).to_parquet(folder / "rows.parquet")
    return folder


@pytest.mark.parametrize(
    ("file", "target", "flags"),
    [("rows.csv", "Jahre verheiratet", ["--task", "regression"]), ("rows.parquet", "seit langem", [])],
)
def test_500_rows_of_a_file_as_it_is_are_rehearsed_with_the_built_in_training(
    file: str, target: str, flags: list[str], awkward: Path, tmp_path: Path
) -> None:
    """All but drift is judged; drift is skipped with how many rows to bring, and that does not fail the run."""
    code, record, errors = rehearse(tmp_path, "--data", str(awkward / file), "--target", target, *flags)
    assert code == 0, errors
    assert {step["name"]: step["status"] for step in record["steps"] if step["status"] != "passed"} == {
        "drift": "skipped"
    }
    (skip,) = record["skips"]
    assert skip["reason"] == (
        "the held-out rows are 125; a window needs 566 rows to find a shift of 0.2; bring at least 4,528 rows."
    )
    champion = next(model for model in record["models"] if "champion" in model["aliases"])
    assert champion["version"] == 2
    assert "Alter (in Jahren)" in champion["features"]


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--target", "nothing"], "nothing"),
        (["--target", "affair", "--positive", "perhaps"], "positive class 'perhaps' is not among its labels: no, yes"),
        (["--target", "affair", "--train", "no_module:train"], "no_module"),
    ],
)
def test_a_mistake_about_the_data_is_one_line_before_anything_is_trained(
    flags: list[str], line: str, tmp_path: Path
) -> None:
    """Exit code 2, and the last line names what was wrong."""
    data = str(EXAMPLES / "csv/affairs.csv")
    code, _, errors = rehearse(tmp_path, "--data", data, *flags)
    assert code == 2
    assert line in errors.splitlines()[-1]
    assert "Traceback" not in errors
