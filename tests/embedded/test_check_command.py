"""`rehearse check` in a process of its own: a version is trained, served and checked; a mistake costs no training."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKS = """
[[check]]
kind = "direction"
column = "chronic_diseases"
by = 10.0
expect = "{expect}"
tolerance = 0.05
at_least = 0.6

[[check]]
kind = "skew"
rows = 5
"""


def rehearse(folder: Path, *arguments: str, command: str = "check") -> subprocess.CompletedProcess[str]:
    """The command with folders of this test alone."""
    own = {"REHEARSAL_STATE": str(folder / "state"), "REHEARSAL_RUNS": str(folder / "reports")}
    argv = [sys.executable, "-m", "harness.cli", command, *arguments]
    return subprocess.run(
        argv, env={**os.environ, **own}, cwd=folder, capture_output=True, text=True, timeout=240, check=False
    )


@pytest.mark.parametrize(("expect", "code"), [("up", 0), ("down", 1)])
def test_a_version_is_checked_and_has_a_card(expect: str, code: int, tmp_path: Path) -> None:
    """The same model keeps one expectation and breaks the other; the exit code, the record and the card say which."""
    file = tmp_path / "checks.toml"
    file.write_text(CHECKS.format(expect=expect), encoding="utf-8")
    done = rehearse(tmp_path, "--checks", str(file), "--json")
    record = json.loads(done.stdout)
    (checks,), (card,) = record["checks"], record["cards"]

    assert done.returncode == code, done.stderr
    assert [each["passed"] for each in checks["results"]] == [code == 0, True]
    assert f"{'passed' if code == 0 else 'FAILED'} " in done.stderr
    (folder,) = (tmp_path / "reports").iterdir()
    text = (folder / "cards/high-utiliser-v1.md").read_text("utf-8")
    assert "| served as trained | 0 of " in text
    assert ("failed" in text) == bool(code)
    assert card["uri"].startswith("runs:/")


def test_the_main_job_refuses_a_candidate_by_a_check_and_its_card_says_so(tmp_path: Path) -> None:
    """A check that failed is a line of the gate: nothing is served, and who looks the version up finds out why."""
    file = tmp_path / "checks.toml"
    file.write_text(CHECKS.format(expect="down"), encoding="utf-8")
    done = rehearse(tmp_path, "--checks", str(file), "--json", command="run")
    record = json.loads(done.stdout)

    assert done.returncode == 1
    assert "v2 may not become staging: check: chronic_diseases +10 does not raise the answer" in record["decided_by"]
    assert [step["name"] for step in record["steps"]][-1] == "gate"
    (folder,) = (tmp_path / "reports").iterdir()
    assert "- The promotion gate refused it." in (folder / "cards/high-utiliser-v2.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[[check]]\nkind = "directoin"\n', "check 1: kind: expected invariance, direction,"),
        ('[[check]]\nkind = "direction"\ncolumn = "a"\nby = 1\nat_least = 1.4\n', "at_least: expected a number from 0"),
        ('[[check]]\nkind = "cases"\ncases = "none.toml"\n', "none.toml: no such file"),
        ('[[check]]\nkind = "invariance"\ncolumn = "chronic_disease"\n', "did you mean chronic_diseases?"),
        ('[[check]]\nkind = "slice"\nwhere = "chronic > 1"\nat_least = 0.5\n', "'chronic > 1' cannot be evaluated"),
    ],
)
def test_a_mistake_is_one_line_before_anything_starts(text: str, told: str, tmp_path: Path) -> None:
    """No run folder is made, and the exit code is 2."""
    file = tmp_path / "checks.toml"
    file.write_text(text, encoding="utf-8")
    done = rehearse(tmp_path, "--checks", str(file))

    assert done.returncode == 2
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "reports").exists()
