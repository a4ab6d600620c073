"""The mark fault and the fixture chaos in a session of a user's; a mistake in the mark is one clear line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from harness.runtime.supervisor import base_env

TESTS = """
import pytest

def test_no_mark(chaos): ...

@pytest.mark.fault("replica-kiled")
def test_fault(chaos): ...

@pytest.mark.fault("replica-killed", phase="wathing")
def test_phase(chaos): ...

@pytest.mark.fault("replica-killed", aim="v1")
def test_aim(chaos): ...

@pytest.mark.fault("mlflow-down", aim="canary")
def test_no_aim(chaos): ...

@pytest.mark.fault("replica-errors", shar=0.1)
def test_setting(chaos): ...

@pytest.mark.fault("replica-errors", phase="shifting", aim="baseline", share=0.5)
def test_right(chaos):
    assert (chaos.fault.settings["share"], chaos.phase, chaos.aim) == (0.5, "shifting", "baseline")

@pytest.mark.fault("replica-killed")
def test_default(chaos):
    assert (chaos.phase, chaos.aim) == ("watching", "canary")
"""
TOLD = (
    "test_no_mark: the fixture chaos needs the mark fault with one name",
    "unknown fault 'replica-kiled'; did you mean replica-killed?",
    "unknown phase 'wathing'; did you mean watching?",
    "fault replica-killed: aim: expected canary or baseline, got 'v1'",
    "fault mlflow-down: aim: expected none, got 'canary'",
    "fault replica-errors: it has no setting 'shar'; it has: lasts_s, share",
)


def test_a_mark_arms_a_fault_and_a_mistake_in_it_is_a_line(tmp_path: Path) -> None:
    """The mark is registered, so that it passes --strict-markers."""
    (tmp_path / "test_users.py").write_text(TESTS, encoding="utf-8")
    options = ["-q", "--strict-markers", "-p", "no:cacheprovider", "--reports", str(tmp_path / "reports")]
    argv = [sys.executable, "-m", "pytest", *options]
    done = subprocess.run(argv, cwd=tmp_path, env=base_env(), capture_output=True, text=True, timeout=120, check=False)
    assert "2 passed, 6 errors" in done.stdout, done.stdout
    for line in TOLD:
        assert f"UsageError: {line}" in done.stdout
