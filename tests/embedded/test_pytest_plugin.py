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


FINDS = """
from harness.report.record import UpstreamFinding

def test_finds(platform):
    finding = UpstreamFinding(program="KServe", version="v0.20.0", title="loses", shown="3 of 9", instead="ours")
    platform.run.record.upstream.append(finding)
"""


def test_what_a_test_found_upstream_outlives_its_run_folder(tmp_path: Path) -> None:
    """The session ends with it, and keeps a page; also where the test ran in a worker of pytest-xdist."""
    (tmp_path / "test_users.py").write_text(FINDS)
    options = ["-q", "-n", "1", "-p", "no:cacheprovider", "--reports", str(tmp_path / "reports")]
    argv = [sys.executable, "-m", "pytest", *options]
    done = subprocess.run(argv, cwd=tmp_path, env=base_env(), capture_output=True, text=True, timeout=120)
    (page,) = tmp_path.glob("reports/*-upstream/index.html")
    assert "1 passed" in done.stdout
    assert "KServe v0.20.0: loses: 3 of 9" in done.stdout
    assert f"report: {page}" in done.stdout
    assert "3 of 9" in page.read_text(encoding="utf-8")
