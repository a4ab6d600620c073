"""The pytest plug-in in a session of a user's: folders of their own, failures kept, missing capabilities skipped."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from harness.runtime.supervisor import base_env

TESTS = """
import pytest
from harness.errors import CapabilityMissing

@pytest.fixture
def broken(platform):
    raise RuntimeError("the fixture is broken")

@pytest.fixture
def lacking(platform):
    raise CapabilityMissing("metrics", hint="apt-get install prometheus")

class TestOne:
    def test_same(self, platform):
        assert not (platform.run.folder / "mark").exists()
        (platform.run.folder / "mark").touch()

class TestTwo:
    def test_same(self, platform):
        assert not (platform.run.folder / "mark").exists()
        assert "v2" == "v1"

def test_needs_what_is_broken(broken): ...
def test_needs_what_is_missing(lacking): ...
"""


def test_a_session_keeps_what_failed_and_skips_what_is_missing(tmp_path: Path) -> None:
    """Tests of one name share no folder; a test that fails, or whose fixture does, leaves a failed run; others none."""
    (tmp_path / "test_users.py").write_text(TESTS)
    options = ["-q", "-rs", "-p", "no:cacheprovider", "--reports", str(tmp_path / "reports")]
    argv = [sys.executable, "-m", "pytest", *options]
    done = subprocess.run(argv, cwd=tmp_path, env=base_env(), capture_output=True, text=True, timeout=120)
    records = [json.loads(path.read_text()) for path in tmp_path.glob("reports/*/*/run.json")]
    assert "1 failed, 1 passed, 1 skipped, 1 error" in done.stdout
    assert "metrics: apt-get install prometheus" in done.stdout
    assert sorted((record["status"], record["decided_by"]) for record in records) == [
        ("failed", "AssertionError: assert 'v2' == 'v1'"),
        ("failed", "RuntimeError: the fixture is broken"),
    ]
