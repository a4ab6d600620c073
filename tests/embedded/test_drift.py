"""Drift by the real Evidently, in the process that the rehearsal runs it in."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp

from harness.lifecycle._comparison import KS, Comparison, DriftPolicy, levels_p_value
from harness.lifecycle.drift import PREDICTION, judge
from harness.prediction_log.pages import Pages
from harness.report.record import DriftRecord
from harness.runtime.job import read_answer


@pytest.fixture(scope="module")
def windows() -> dict[str, pd.DataFrame]:
    """Reference, an unshifted control, people in poor health, and a control with a label that nobody had before."""
    from statsmodels.datasets import randhie

    features = randhie.load_pandas().data.drop(columns="mdvis")
    people = features.assign(prediction=0.2 + 0.005 * features.disea, plan="basic").sample(frac=1, random_state=7)
    reference, held_out = people.iloc[:16_000], people.iloc[16_000:]
    return {
        "reference": reference,
        "control": held_out.head(1_000),
        "shifted": held_out[held_out.hlthf + held_out.hlthp > 0],
        "new label": held_out.head(1_000).assign(plan=np.where(np.arange(1_000) < 30, "gold", "basic")),
    }


@pytest.fixture(scope="module")
def judged(
    windows: dict[str, pd.DataFrame], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[DriftRecord]]:
    """The folder and the verdicts of one drift process."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "drift").mkdir()
    for name in ("reference", "new label"):
        windows[name].to_parquet(folder / f"{name}.parquet")
    spec = {
        "reference": str(folder / "reference.parquet"),
        "run_folder": str(folder),
        "windows": [
            _window("control", windows, expected=False),
            _window("shifted", windows, expected=True, html=str(folder / "drift" / "shifted.html")),
            {"name": "new label", "path": str(folder / "new label.parquet")},
        ],
    }
    (folder / "spec.json").write_text(json.dumps(spec))
    code = "import sys; from harness.lifecycle.drift import main; main(open(sys.argv[1]).read(), sys.argv[2])"
    result = folder / "result.json"
    subprocess.run(
        [sys.executable, "-c", code, str(folder / "spec.json"), str(result)],
        check=True,
        timeout=120,
        cwd=Path(__file__).parents[2],
    )
    return folder, [DriftRecord.model_validate(record) for record in read_answer(result)["drift"]]


def _window(name: str, windows: dict[str, pd.DataFrame], **extra: Any) -> dict[str, Any]:
    """Traffic as the platform hands it over: the rows that were sent and the predictions that came back."""
    rows = windows[name].drop(columns=PREDICTION)
    return {
        "name": name,
        "columns": list(rows.columns),
        "rows": rows.to_numpy(dtype=object).tolist(),
        "predictions": windows[name][PREDICTION].tolist(),
        **extra,
    }


def test_a_shifted_window_is_drift_and_a_control_is_not(judged: tuple[Path, list[DriftRecord]]) -> None:
    control, shifted, _ = judged[1]

    assert (control.window, control.drifted, control.share_drifted, control.expected) == ("control", False, 0.0, False)
    assert (shifted.window, shifted.drifted, shifted.expected) == ("shifted", True, True)
    assert {"hlthf", "hlthp", "physlm", "disea", "prediction"} <= {c.column for c in shifted.columns if c.drifted}


def test_a_new_label_is_drift_of_its_column_alone(judged: tuple[Path, list[DriftRecord]]) -> None:
    assert [column.column for column in judged[1][2].columns if column.drifted] == ["plan"]


def test_evidently_computes_the_scores_whose_error_rate_was_shown(
    judged: tuple[Path, list[DriftRecord]], windows: dict[str, pd.DataFrame]
) -> None:
    """The simulation in tests/unit/test_drift.py is about these very numbers."""
    comparison = Comparison.of(windows["reference"], windows["control"], "control", DriftPolicy())
    expected = {
        column: ks_2samp(comparison.reference[column], comparison.window[column]).pvalue
        if method == KS
        else levels_p_value(comparison.reference[column], comparison.window[column])
        for column, method in comparison.methods.items()
    }

    assert {column.column: column.score for column in judged[1][0].columns} == pytest.approx(expected)
    assert {column.threshold for column in judged[1][0].columns} == {1e-3 / len(expected)}


def test_the_page_of_evidently_is_a_file_of_its_own(judged: tuple[Path, list[DriftRecord]]) -> None:
    folder, (control, shifted, _) = judged

    assert (control.html, shifted.html) == ("", "drift/shifted.html")
    assert "<html" in (folder / shifted.html).read_text(encoding="utf-8")[:200]
    assert [path.name for path in (folder / "drift").iterdir()] == ["shifted.html"]


def test_pages_of_windows_are_drawn_by_a_process_of_their_own(windows: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    """It ends with its input, and what cannot be drawn ends nothing."""
    reference = tmp_path / "reference.parquet"
    windows["reference"].assign(label=1.0).to_parquet(reference)
    record, pair = judge(windows["reference"], windows["shifted"], window_name="shifted")
    pages = Pages(tmp_path)
    lost = pages.draw(pair, record, str(tmp_path / "not there"), "lost")
    drawn = pages.draw(pair, record, str(reference), "drawn")
    pages.close()

    assert not (tmp_path / lost).exists()
    assert "<html" in (tmp_path / drawn).read_text(encoding="utf-8")[:200]
    assert [path.name for path in (tmp_path / "pages").iterdir()] == ["drawn.html"]
