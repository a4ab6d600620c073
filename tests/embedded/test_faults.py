"""What breaks under a whole `rehearse run`: a process, the disk, the user's function. The cause is told first."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.report.store import load_record
from tests.embedded.whole_runs import SMALL, WholeRun, whole_run

pytestmark = pytest.mark.alone  # a canary under load is judged by its latency

IMPATIENT = SMALL.replace("[load]", "[load]\nstep_deadline_s = 2")

REPORTED = {
    "envoy": ("rollout.weight", "50 %", "the canary fails because requests were lost"),
    "load-load-1": ("rollout.weight", "50 %", "nobody asks any more"),
    "nursery": ("step.progress", "baseline: search: running", "and all its forks with it"),
}


@pytest.mark.parametrize("victim", REPORTED)
def test_a_killed_process_is_the_first_thing_that_the_verdict_names(victim: str, tmp_path: Path) -> None:
    """Which process, by which signal, then what followed from it, and the log to look at."""
    kind, words, _ = REPORTED[victim]
    with whole_run(tmp_path / victim, config=IMPATIENT) as run:
        run.await_event(kind, words)
        run.kill(victim)
        assert run.end() == 1
        record = run.record()
        verdict = record.decided_by.splitlines()[0]
        assert verdict.startswith(f"{victim} was killed by signal 9; then ")
        assert f"FAILED in {record.duration_s:.1f} s: {verdict}" in run.out()
        assert record.hint
        assert run.left() == []


RESTARTED = {
    "prometheus": ("component.ready", "prometheus", "platform"),
    "mlflow": ("step.progress", "baseline: search: running", "baseline"),
}


@pytest.mark.parametrize("victim", RESTARTED)
def test_a_killed_component_comes_back_and_the_step_passes(victim: str, tmp_path: Path) -> None:
    """On its ports, with its data, as its recipe says."""
    kind, words, step = RESTARTED[victim]
    with whole_run(tmp_path / victim) as run:
        run.await_event(kind, words)
        run.kill(victim)
        told = run.await_event("component.restarted", victim)
        assert told["message"] == f"{victim} was killed by signal 9; started again (1 of 3)"
        run.await_event("step.passed", step)
        assert run.child(victim).process.alive()
        os.kill(run.process.pid, signal.SIGINT)
        assert run.end() == 130


def test_a_job_killed_by_9_fails_its_step_with_the_signal(tmp_path: Path) -> None:
    """The out-of-memory killer picks the training; the run says so, and ends its children."""
    with whole_run(tmp_path / "job") as run:
        run.await_event("step.progress", "baseline: search: running")
        run.kill("pipeline-baseline")
        assert run.end() == 1
        verdict = run.record().decided_by.splitlines()[0]
        assert verdict == "pipeline-baseline: was killed by signal 9 before it had answered."
        assert run.left() == []


HANGS = """
import subprocess
from pathlib import Path

def train(features, target):
    Path(__file__).with_name("called").touch()
    subprocess.run(["sleep", "600"])
"""


def test_a_training_function_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    """At its deadline, by its name."""
    home = tmp_path / "hangs"
    home.mkdir()
    (home / "mine.py").write_text(HANGS, encoding="utf-8")
    config = SMALL.replace("trials = 1", 'entry = "mine:train"\ndeadline_s = 1.5')
    with whole_run(home, config=config) as run:
        assert run.end() in (1, 2)
        assert "training function mine:train did not finish within 1.5 s" in run.out() + run.err()
        assert (home / "called").exists()
        assert run.left() == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[list[str]]:
    """The start of a command line: what follows it sees a disk of its own, of SIZE MB, at the folder PLACE."""
    script = 'mount -t tmpfs -o size="$0"m tmpfs "$1" && { p=$1; shift; "$@"; c=$?; cp -r "$p" "$p.kept"; exit $c; }'
    start = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-c", script]
    place = tmp_path / "disk"
    place.mkdir()
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare here, which mounts a small disk")
    tried = subprocess.run([*start, "1", str(place), "true"], capture_output=True, text=True, timeout=30, check=False)
    if tried.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {tried.stderr.strip()}")
    shutil.rmtree(tmp_path / "disk.kept")
    yield start
    shutil.rmtree(tmp_path / "disk.kept", ignore_errors=True)


def seen_from_here(run: WholeRun) -> WholeRun:
    """The run, with its reports as this process can read them: the disk is mounted for the run alone."""
    return replace(run, reports=Path(f"/proc/{run.process.pid}/root{run.reports}"))


def test_a_disk_that_is_too_small_is_told_before_anything_starts(small_disk: list[str], tmp_path: Path) -> None:
    """One line: how much is there, how much it takes, what to do; no run folder."""
    disk = tmp_path / "disk"
    with whole_run(tmp_path / "small", wrapper=[*small_disk, "20", str(disk)], REHEARSAL_RUNS=str(disk)) as run:
        assert run.end() == 1
        assert run.out() == ""
        assert run.err() == (
            f"rehearse: reports folder: {disk} is on a disk with 21 MB free; a run needs 40 MB. "
            "Hint: free some space, or name another folder with --reports.\n"
        )
        assert list((tmp_path / "disk.kept").iterdir()) == []


FILLED = {"starting": ("step.started", "platform"), "canary": ("rollout.weight", "50 %")}


@pytest.mark.parametrize("phase", FILLED)
def test_a_disk_that_runs_full_is_the_cause_that_is_told_and_the_report_is_there(
    phase: str, small_disk: list[str], tmp_path: Path
) -> None:
    """Soon, not at a time-out; no traceback; the report was given its space at the start."""
    disk = tmp_path / "disk"
    with whole_run(tmp_path / phase, wrapper=[*small_disk, "48", str(disk)], REHEARSAL_RUNS=str(disk)) as run:
        there = seen_from_here(run)
        there.await_event(*FILLED[phase])
        fill(there.reports / "filler")
        assert run.end(75) == 1  # a roll back that the disk refuses is tried again for 30 s
        (folder,) = (tmp_path / "disk.kept").glob(f"*-{phase}")
        record = load_record(folder)
        assert f"the disk of {disk / folder.name} is full (0.0 MB left)" in record.decided_by.splitlines()[0]
        assert record.hint == "a run needs 40 MB: free some space, or name another folder with --reports."
        assert record.decided_by.splitlines()[0] in run.out()
        assert "Traceback" not in run.out() + run.err()
        assert (folder / "index.html").is_file()
        assert (folder / "junit.xml").is_file()
        assert run.left() == []


def fill(path: Path) -> None:
    """Write until nothing is left."""
    with path.open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while filler.write(b"\0" * 4096):
            pass
    assert os.statvfs(path).f_bavail == 0


def test_reports_that_are_a_file_and_a_folder_that_is_not_writable_are_one_line(tmp_path: Path) -> None:
    """Exit code 2, nothing started."""
    (tmp_path / "file").write_text("")
    with whole_run(tmp_path / "a", "--reports", str(tmp_path / "file")) as run:
        assert run.end() == 2
        assert run.err() == f"rehearse: reports folder: cannot write {tmp_path}/file: Not a directory\n"
    with whole_run(tmp_path / "b", "--reports", "/proc/reports") as run:
        assert run.end() == 2
        assert run.err().startswith("rehearse: reports folder: cannot write /proc/reports: ")
        assert run.err().count("\n") == 1
