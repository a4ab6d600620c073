"""`rehearse nightly` for real, with a suite of a user's own: its index, its history, and Ctrl-C."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.runtime.clock import Deadline
from harness.runtime.wait import wait

SUITE = """
from pathlib import Path

def test_steady(): pass

def test_wobbly():
    marker = Path(__file__).with_name("second")
    first = not marker.exists()
    marker.touch()
    assert not first, "only the first time"
"""


def nightly(tmp_path: Path, suite: Path) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "harness.cli", "nightly", "--world", "embedded", "--suite", str(suite)]
    parts = ["--part", "scenarios-embedded", "--part", "equivalence", "--reports", str(tmp_path / "reports")]
    return subprocess.Popen([*argv, *parts], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    path = tmp_path / "test_mine.py"
    path.write_text(SUITE)
    return path


def test_two_nights_have_an_index_each_and_the_second_knows_what_is_flaky(tmp_path: Path, suite: Path) -> None:
    first = nightly(tmp_path, suite)
    out, err = first.communicate(timeout=120)
    assert first.returncode == 1, err
    assert "FAILED: 3 parts: 1 failed, 2 missing. 2 tests, 1 failed." in out
    assert "missing  The worlds side by side: two worlds with verdicts are needed, here: embedded" in out

    second = nightly(tmp_path, suite)
    out, err = second.communicate(timeout=120)
    assert second.returncode == 0, err
    night = max((tmp_path / "reports").glob("*-nightly*"))
    index = (night / "index.html").read_text(encoding="utf-8")
    assert "only the first time" in index
    assert "flaky" in index
    data = json.loads((night / "nightly.json").read_text())
    assert [part["came"] for part in data["parts"]] == ["passed", "missing", "missing"]
    assert data["history"]["nights"] == 2
    assert len((tmp_path / "reports" / "history.jsonl").read_text().splitlines()) == 2


def test_ctrl_c_leaves_an_index_of_what_was_done(tmp_path: Path, suite: Path) -> None:
    suite.write_text("import time\n\ndef test_long():\n    time.sleep(120)\n")
    process = nightly(tmp_path, suite)
    found = list[Path]()

    def running() -> bool:
        found[:] = (tmp_path / "reports").glob("*-nightly/nightly.json")
        return bool(found) and "running" in found[0].read_text()

    wait(running, what="the first part to run", deadline=Deadline.after(60))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "interrupted; what was done is in" in err
    came = [part["came"] for part in json.loads(found[0].read_text())["parts"]]
    assert came == ["not run", "not run"]
    (night,) = (tmp_path / "reports" / "history.jsonl").read_text().splitlines()
    assert set(json.loads(night)["cases"].values()) == {"not run"}
