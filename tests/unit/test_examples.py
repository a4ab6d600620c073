"""The documented examples: they load, and their data is what their script writes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.config import load_settings

EXAMPLES = Path(__file__).resolve().parents[2] / "docs/examples/bring_your_own"


@pytest.mark.parametrize(("name", "task"), [("csv", "classification"), ("parquet", "regression")])
def test_an_example_is_a_valid_configuration(name: str, task: str) -> None:
    """Whoever copies it starts from something that works."""
    settings = load_settings(EXAMPLES / name / "rehearsal.toml")
    assert settings.data.task == task
    assert settings.root == EXAMPLES / name
    assert settings.data.file
    assert settings.data.file.is_file()


def test_the_data_is_what_the_script_writes(tmp_path: Path) -> None:
    """The files hold nothing but a survey that ships with statsmodels."""
    for name in ("csv", "parquet"):
        (tmp_path / name).mkdir()
    subprocess.run([sys.executable, str(EXAMPLES / "make_data.py"), str(tmp_path)], check=True, timeout=120)
    assert (tmp_path / "csv/affairs.csv").read_bytes() == (EXAMPLES / "csv/affairs.csv").read_bytes()
    import pandas as pd

    written, kept = (pd.read_parquet(folder / "parquet/marriages.parquet") for folder in (tmp_path, EXAMPLES))
    pd.testing.assert_frame_equal(written, kept)
