"""Ctrl-C, SIGTERM and -9 of `rehearse run`: the report is written, and no process outlives the run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.runtime.clock import Deadline
from harness.runtime.supervisor import base_env
from harness.runtime.wait import wait
from tests.embedded.whole_runs import WholeRun, whole_run

ENDS_WITHIN_S = 8.0  # under a second on an idle machine

PHASES = {
    "starting": (signal.SIGINT, "component.ready", "envoy"),
    "training": (signal.SIGTERM, "step.progress", "baseline: train: running"),
    "gate": (signal.SIGINT, "step.started", "gate"),
    "staging": (signal.SIGTERM, "service.applied", "staging/"),
    "canary": (signal.SIGINT, "rollout.weight", "50 %"),
    "drift": (signal.SIGTERM, "step.started", "drift"),
}


@pytest.mark.parametrize("phase", PHASES)
def test_an_interrupted_run_writes_its_report_and_leaves_no_process(phase: str, tmp_path: Path) -> None:
    """Within seconds, in each phase; the report says in which step it was."""
    signum, kind, words = PHASES[phase]
    with whole_run(tmp_path / phase) as run:
        run.await_event(kind, words)
        os.kill(run.process.pid, signum)
        assert run.end(ENDS_WITHIN_S) == 130
        assert run.left() == []
        assert list(run.states.glob("*.json")) == []
        record = run.record()
        assert record.status.value == "interrupted"
        assert [step.status.value for step in record.steps][-1] == "interrupted"
        assert f"INTERRUPTED in {record.duration_s:.1f} s: interrupted" in run.out()
        assert run.err() == ""
        assert "interrupted" in (run.folder / "index.html").read_text(encoding="utf-8")
        assert ElementTree.parse(run.folder / "junit.xml").getroot().find(".//error") is not None


@pytest.mark.parametrize("phase", ["starting", "training"])
def test_a_second_ctrl_c_cuts_nothing_short(phase: str, tmp_path: Path) -> None:
    """Impatient users press it until the prompt is back: still a report, still no process."""
    _, kind, words = PHASES[phase]
    with whole_run(tmp_path / phase) as run:
        run.await_event(kind, words)
        presses = 0

        def pressed_until_gone() -> bool:
            nonlocal presses
            if run.poll() is None:
                os.kill(run.process.pid, signal.SIGINT)
                presses += 1
            return run.poll() is not None

        wait(pressed_until_gone, what="the run's end", deadline=Deadline.after(ENDS_WITHIN_S), every_s=0.05)
        assert presses > 1
        assert run.end() == 130
        wait(lambda: run.left() == [], what="no process left", deadline=Deadline.after(5))
        assert run.record().status.value == "interrupted"
        assert (run.folder / "index.html").is_file()


def test_a_run_killed_by_9_under_load_leaves_nothing_and_the_next_one_starts_clean(tmp_path: Path) -> None:
    """The warden ends what the run cannot end any more."""
    home = tmp_path / "killed"
    with whole_run(home) as run:
        run.await_event("rollout.weight", "50 %")
        assert len(run.left()) > 5
        run.process.kill()
        run.end()
        wait(lambda: run.left() == [], what="no process left", deadline=Deadline.after(5))
        wait(lambda: not list(run.states.glob("*.json")), what="no state left", deadline=Deadline.after(5))
    with whole_run(tmp_path / "next", REHEARSAL_STATE=str(home / "state")) as run:
        ready = run.await_event("component.ready", "envoy")
        assert not [event for event in run.events() if event["kind"] == "process.collected"]
        assert ready["data"]["ports"]
        _end(run)


def _end(run: WholeRun) -> None:
    os.kill(run.process.pid, signal.SIGINT)
    assert run.end(ENDS_WITHIN_S) == 130


def test_gc_finds_nothing_of_a_run_that_lives(tmp_path: Path) -> None:
    """A process belongs to its run while that run's owner lives."""
    with whole_run(tmp_path / "alive") as run:
        run.await_event("component.ready", "envoy")
        env = {**base_env(), "REHEARSAL_STATE": str(run.states)}
        argv = [sys.executable, "-m", "harness.cli", "gc"]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=30, check=True)
        assert done.stdout == "nothing was left behind\n"
        assert run.child("envoy").process.alive()
        _end(run)
