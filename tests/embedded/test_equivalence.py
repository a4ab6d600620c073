"""`rehearse equivalence` for real: pytest in a world, on real components, its verdicts in a page; and Ctrl-C in it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from harness.runtime.clock import Deadline
from harness.runtime.supervisor import base_env
from harness.runtime.wait import wait

SUITE = """
from harness.backends.backend import Capability

def test_a_registry_answers(platform):
    assert platform.backend.tracking_uri.startswith("http://127.0.0.1:")

def test_a_load_scales_out(platform):
    platform.require(Capability.KSERVE)
"""
FAILING = (
    SUITE
    + """
def test_two_models_agree(platform):
    assert "v2" == "v1"
"""
)
WAITING = """
import time
from pathlib import Path
import pytest
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait

@pytest.fixture
def cluster():
    yield
    time.sleep(6)  # longer than a process has that is merely stopped
    Path("cluster deleted").touch()

def test_waits_for_a_reviewer(platform, cluster):
    assert platform.backend.tracking_uri
    Path("waiting").touch()
    wait(lambda: Path("reviewed").exists(), what="a reviewer", deadline=Deadline.after(600))
"""
ENDS_WITHIN_S = 60.0


def started(tmp_path: Path, suite: str, *arguments: str) -> subprocess.Popen[str]:
    """The command in a folder with a suite of a user's."""
    (tmp_path / "test_users.py").write_text(suite, encoding="utf-8")
    argv = [sys.executable, "-m", "harness.cli", "equivalence", "--suite", "test_users.py", "--reports", "reports"]
    return subprocess.Popen(
        [*argv, *arguments], cwd=tmp_path, env=base_env(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def written(tmp_path: Path) -> Path:
    """The one folder of the comparison."""
    [folder] = (tmp_path / "reports").iterdir()
    return folder


def test_a_suite_is_run_in_a_world_and_its_verdicts_are_kept(tmp_path: Path) -> None:
    """One test passes on a real MLflow server, one names what this world lacks; a world without a cluster is named."""
    with started(tmp_path, SUITE, "--world", "embedded", "--world", "kubernetes") as process:
        out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    folder = written(tmp_path)
    lines = out.splitlines()
    assert lines[0] == f"embedded: running; its log is {folder / 'logs' / 'pytest-embedded.log'}"
    assert "test_users.py::test_a_registry_answers  passed" in lines
    assert "test_users.py::test_a_load_scales_out   skipped" in lines
    assert "not run  kubernetes: no cluster was named: --context NAME" in lines
    assert "EQUIVALENT: embedded: 2 alike, 0 with a missing capability, 0 defects" in lines
    told = json.loads((folder / "equivalence.json").read_text())
    assert (told["equivalent"], told["worlds"], [row["kind"] for row in told["rows"]]) == (
        True, ["embedded"], ["alike", "alike"]
    )  # fmt: skip
    assert "KServe's own controller" in told["rows"][1]["why"]
    assert (folder / "embedded.xml").is_file()
    assert "2 alike" in (folder / "index.html").read_text(encoding="utf-8")


def test_a_test_that_fails_is_a_defect_with_its_report(tmp_path: Path) -> None:
    """The exit code is 1, and the run folder of the test is where the page is."""
    with started(tmp_path, FAILING, "--world", "embedded", "-k", "agree or registry", "--json") as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "embedded: running" in err
    told = json.loads(out)
    assert (told["equivalent"], told["counts"]["defect"], told["counts"]["alike"]) == (False, 1, 1)
    [defect] = [row for row in told["rows"] if row["kind"] == "defect"]
    assert defect["why"].startswith("fails in every world: AssertionError: assert 'v2' == 'v1'")
    [report] = written(tmp_path).glob("runs/*/*/index.html")
    assert "test_two_models_agree" in report.parent.name


def test_ctrl_c_ends_the_world_that_runs_and_leaves_no_process(tmp_path: Path) -> None:
    """Pytest is told, and given the time to take down what it started: an MLflow server, and as it were a cluster."""
    with started(tmp_path, WAITING, "--world", "embedded") as process:
        wait((tmp_path / "waiting").exists, what="the test", deadline=Deadline.after(120), fail=lambda: ended(process))
        running = psutil.Process(process.pid).children(recursive=True)
        assert any("mlflow" in name or "nursery" in name for name in map(words, running))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=ENDS_WITHIN_S)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert [child for child in running if child.is_running() and child.status() != psutil.STATUS_ZOMBIE] == []
    assert (tmp_path / "cluster deleted").exists()
    assert not (written(tmp_path) / "index.html").exists()


def ended(process: subprocess.Popen[str]) -> str:
    return "" if process.poll() is None else f"the command ended with {process.returncode}"


def words(process: psutil.Process) -> str:
    """The command line of a process that may have ended meanwhile."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""
