"""The documented examples run as documented: a user's data, a user's training function, a release that passes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "docs/examples/bring_your_own"


def rehearse(folder: Path, *arguments: str) -> tuple[int, Any, str]:
    """Exit code, run record and standard error of `rehearse run --json`."""
    environment = {**os.environ, "REHEARSAL_STATE": str(folder / "state"), "REHEARSAL_RUNS": str(folder / "reports")}
    argv = [sys.executable, "-m", "harness.cli", "run", "--json", *arguments]
    done = subprocess.run(argv, env=environment, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, json.loads(done.stdout or "null"), done.stderr


@pytest.mark.parametrize(
    ("example", "estimator", "rows"), [("csv", "GradientBoostingClassifier", 569), ("parquet", "Ridge", 442)]
)
def test_an_example_is_rehearsed_to_a_promotion(example: str, estimator: str, rows: int, tmp_path: Path) -> None:
    """The user's function trained both versions on the user's rows, and the better one became the champion."""
    code, record, errors = rehearse(tmp_path, "--config", str(EXAMPLES / example / "rehearsal.toml"))
    assert code == 0, errors
    assert {pipeline["rows"] + pipeline["quarantined_rows"] for pipeline in record["pipelines"]} == {rows}
    champion = next(model for model in record["models"] if "champion" in model["aliases"])
    assert estimator in champion["estimator"]
    assert record["rollouts"][-1]["outcome"] == "promoted"


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--target", "nothing"], "nothing"),
        (["--target", "diagnosis", "--positive", "healthy"], "healthy"),
        (["--target", "diagnosis", "--train", "no_module:train"], "no_module"),
    ],
)
def test_a_mistake_about_the_data_is_one_line_before_anything_is_trained(
    flags: list[str], line: str, tmp_path: Path
) -> None:
    """Exit code 2, and the last line names what was wrong."""
    data = str(EXAMPLES / "csv/tumours.csv")
    code, _, errors = rehearse(tmp_path, "--data", data, *flags)
    assert code == 2
    assert line in errors.splitlines()[-1]
    assert "Traceback" not in errors
