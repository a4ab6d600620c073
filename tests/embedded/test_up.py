"""`rehearse up`, `status` and `down`, on a real platform: found from another terminal, and gone when `down` returns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

Rehearse = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def rehearse(tmp_path: Path) -> Rehearse:
    """The command line in a process of its own, with a state folder of this test alone."""
    environment = {
        **os.environ,
        "REHEARSAL_STATE": str(tmp_path / "state"),
        "REHEARSAL_RUNS": str(tmp_path / "reports"),
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "harness.cli", *arguments]
        return subprocess.run(
            argv, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=180, check=False
        )

    return run


def document(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_platform_that_serves_takes_load_from_another_terminal(rehearse: Rehearse) -> None:
    """Held-out rows in both protocols; the ledger is joined with the log of that platform's gateway."""
    run_id = document(rehearse("up", "--serve", "--detach", "--json"))["run"]
    try:
        flags = ("--shape", "step:rates_rps=10/20,each_s=1", "--slo", "slower_than_ms=5000,slow=0.5", "--json")
        for protocol in ("v1", "v2"):
            record = document(rehearse("load", "--run", "latest", "--protocol", protocol, *flags))
            (load,) = record["loads"]
            assert (load["sent"], load["unexplained"], load["joined"]) == (30, 0, True)
            (name,) = load["classes"]
            assert name.startswith("answered:v")
            assert load["reproduce"].endswith(f"--run {run_id}")
    finally:
        rehearse("down", "--all")


def test_a_platform_that_serves_nothing_takes_no_load(rehearse: Rehearse) -> None:
    """And says how to start one that does."""
    rehearse("up", "--detach", "--json")
    try:
        done = rehearse("load", "--run", "latest")
    finally:
        rehearse("down", "--all")
    assert done.returncode == 2
    assert done.stderr.strip().endswith("serves no model Hint: rehearse up --serve starts one that does.")


def test_a_detached_platform_is_found_answers_and_is_gone_after_down(rehearse: Rehearse) -> None:
    """The addresses work until `down` returns; then no process is left."""
    started = document(rehearse("up", "--detach", "--json"))
    try:
        (found,) = document(rehearse("status", "--json"))
        assert (found["run"], found["addresses"]) == (started["run"], started["addresses"])
        for name, url in found["addresses"].items():
            assert url.startswith("http://127.0.0.1:"), name
            assert httpx.get(url, timeout=10, trust_env=False).status_code < 500, name
        pids = [process["pid"] for process in found["processes"]]
        assert all(psutil.pid_exists(pid) for pid in pids)
    finally:
        stopped = rehearse("down")
    assert stopped.stdout == f"stopped {started['run']}\n"
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    assert document(rehearse("status", "--json")) == []


def test_a_platform_that_cannot_start_says_why(rehearse: Rehearse, tmp_path: Path) -> None:
    """`up --detach` does not return success before the platform is ready."""
    (tmp_path / "reports").write_text("a file in the way")
    done = rehearse("up", "--detach")
    assert done.returncode == 1
    assert done.stderr.startswith("rehearse: up: the platform did not start: rehearse: reports folder: ")
    assert done.stderr.count("\n") == 1
