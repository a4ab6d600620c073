"""The command line: light, one line for an error, the right exit code, and platforms that can be found and stopped."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import _cli_up
from harness._cli_progress import Progress
from harness._cli_up import stop_runs
from harness.backends.containers import stores, sweep
from harness.backends.containers.stores import StoreState
from harness.backends.kubernetes import clusters as kept_clusters
from harness.backends.kubernetes import sweep as clusters
from harness.backends.kubernetes.clusters import ClusterState
from harness.cli import run_command
from harness.errors import PlatformError, TrainingFailed, UsageError
from harness.report.record import RunRecord, Skip, Status
from harness.runtime import state
from harness.runtime.events import Event
from harness.runtime.identity import Identity
from harness.runtime.owner import Owner

HEAVY = {
    "evidently", "kfp", "kserve", "locust", "matplotlib", "mlflow", "optuna", "pandas", "pyarrow", "scipy", "sklearn",
}  # fmt: skip


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, state and reports of this test alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REHEARSAL_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("REHEARSAL_RUNS", str(tmp_path / "reports"))
    return tmp_path


@pytest.fixture
def main_job(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., RunRecord]], None]:
    """Puts a function in the place of the main job, which itself takes half a minute."""

    def replace(function: Callable[..., RunRecord]) -> None:
        module = types.ModuleType("harness.rehearsal")
        module.rehearse = function  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "harness.rehearsal", module)

    return replace


def record(status: Status, **values: Any) -> RunRecord:
    return RunRecord(
        run_id="r", title="t", backend="embedded", command="rehearse run", started_at=0.0, status=status, **values
    )


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is noted as a running platform."""
    with subprocess.Popen([sys.executable, "-S", "-c", "import signal; signal.pause()"]) as process:
        noted = state.RunState(
            "20260101-000000-platform", "/folder", Owner.of(process.pid), addresses={"mlflow": "http://x"}
        )
        state.write(state.state_path(noted.run_id), noted)
        yield process
        process.kill()


def test_importing_the_command_line_loads_nothing_heavy() -> None:
    """--help answers at once, and a process that forks has no threads of BLAS."""
    ours = (
        "harness, harness.cli, harness.config, harness.doctor, harness._cli_run, harness._cli_up, harness.platform, "
        "harness.rehearsal, harness.pytest_plugin"
    )
    code = f"import {ours}, sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout
    assert HEAVY & set(loaded.split()) == set()


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """A user finds the commands without the documentation."""
    assert run_command(["--help"]) == 0
    shown = capsys.readouterr().out
    for command in ("run", "up", "status", "down", "gc", "doctor", "report", "test"):
        assert f"\n  {command} " in shown


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["run", "--task", "cluster"], '--task: expected classification or regression, got "cluster"'),
        (["run", "--config", "none.toml"], "none.toml: no such file"),
        (["run", "--colour"], "No such option: --colour"),
        (["rnu"], "No such command 'rnu'"),
        (["report", "none"], "run 'none': no such run"),
        (["down"], "down: nothing runs. Running: none"),
        (["down", "2026"], "run '2026': not running. Running: none"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str], places: Path
) -> None:
    """No traceback, nothing on standard output, and no run folder is left behind."""
    assert run_command(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"rehearse: {line}")
    assert shown.err.count("\n") == 1
    assert not (places / "reports").exists()


@pytest.mark.parametrize(
    ("status", "code"), [(Status.PASSED, 0), (Status.FAILED, 1), (Status.INTERRUPTED, 130), (Status.RUNNING, 1)]
)
def test_the_exit_code_is_0_only_if_all_passed(status: Status, code: int, main_job: Any) -> None:
    """A CI job fails exactly when the rehearsal did."""
    main_job(lambda settings, run_folder, listener: record(status))
    assert run_command(["run"]) == code


def test_a_run_ends_with_verdict_reason_skips_hint_and_report(
    main_job: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last lines are all that many users read."""

    def rehearse(settings: Any, run_folder: Path, listener: Any) -> RunRecord:
        (run_folder / "index.html").write_text("")
        return record(
            Status.FAILED, duration_s=18.26, decided_by="the canary was slow", hint="rehearse report latest",
            skips=[Skip(step="metrics", capability="metrics", reason="Prometheus is not here")],
        )  # fmt: skip

    main_job(rehearse)
    run_command(["run"])
    verdict, skipped, hint, report = capsys.readouterr().out.splitlines()[-4:]
    assert verdict == "FAILED in 18.3 s: the canary was slow"
    assert skipped == "skipped  metrics: Prometheus is not here"
    assert hint == "hint     rehearse report latest"
    assert report.endswith("-rehearsal/index.html")


def test_json_leaves_standard_output_to_the_record(main_job: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Progress goes to standard error, so that a script can read the rest."""

    def rehearse(settings: Any, run_folder: Path, listener: Any) -> RunRecord:
        listener(Event(0.0, "step.started", "data", "Data", "info", {"name": "data", "title": "Data"}))
        return record(Status.PASSED)

    main_job(rehearse)
    assert run_command(["run", "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["status"] == "passed"
    assert "Data" in shown.err


def test_a_failure_of_ours_is_a_line_with_its_hint(main_job: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """RehearsalError: exit code 1, what failed and what to do next."""

    def rehearse(**_: Any) -> RunRecord:
        raise TrainingFailed("train raised ValueError.", hint="Run it alone.")

    main_job(lambda settings, **rest: rehearse())
    assert run_command(["run"]) == 1
    assert capsys.readouterr().err == "rehearse: train raised ValueError. Hint: Run it alone.\n"


def test_a_defect_is_a_line_and_a_traceback_in_a_file(
    main_job: Any, capsys: pytest.CaptureFixture[str], places: Path
) -> None:
    """The user gets a line, whoever mends it gets the traceback."""

    def rehearse(settings: Any, **_: Any) -> RunRecord:
        raise ZeroDivisionError("by zero")

    main_job(rehearse)
    assert run_command(["run"]) == 1
    log = places / "state/crash.log"
    assert capsys.readouterr().err == f"rehearse: unexpected ZeroDivisionError: by zero. Traceback: {log}\n"
    assert "in rehearse" in log.read_text()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts_the_run_with_code_130(
    signum: int, main_job: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C and a CI system's SIGTERM are the same to a run; afterwards SIGTERM is as before."""
    before = signal.getsignal(signal.SIGTERM)

    def rehearse(settings: Any, **_: Any) -> RunRecord:
        signal.raise_signal(signum)
        return record(Status.PASSED)

    main_job(rehearse)
    assert run_command(["run"]) == 130
    assert capsys.readouterr().err.startswith("rehearse: interrupted; what was done is in ")
    assert signal.getsignal(signal.SIGTERM) == before


def test_progress_prints_a_line_for_each_step() -> None:
    """Title, time and the one line of detail; warnings of the platform are shown too."""
    screen = io.StringIO()
    with Progress(screen) as progress:
        data = {"name": "data", "title": "Read the data"}
        progress(Event(0.0, "step.started", "data", "Read the data", "info", data))
        progress(Event(0.0, "process.died", "envoy", "envoy ended by itself", "warning", {}))
        progress(Event(0.0, "step.passed", "data", "", "info", {**data, "duration_s": 1.234, "detail": "20190 rows"}))
        progress(Event(0.0, "process.started", "envoy", "quiet", "info", {}))
    lines = [line[6:].split() for line in screen.getvalue().splitlines()]
    assert lines == [
        ["...", "Read", "the", "data"],
        ["warning", "envoy", "ended", "by", "itself"],
        ["ok", "1.2", "s", "Read", "the", "data"],
        ["20190", "rows"],
    ]


def test_status_shows_a_running_platform(sleeper: subprocess.Popen[bytes], capsys: pytest.CaptureFixture[str]) -> None:
    """Its addresses are found from another terminal, as text and as JSON."""
    assert run_command(["status"]) == 0
    assert "mlflow       http://x" in capsys.readouterr().out
    assert run_command(["status", "--json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)
    assert shown["pid"] == sleeper.pid
    assert shown["addresses"] == {"mlflow": "http://x"}


def test_down_ends_the_platform_and_waits_for_it(sleeper: subprocess.Popen[bytes]) -> None:
    """When `down` returns, the owner is gone."""
    assert stop_runs("20260101", everything=False) == ["20260101-000000-platform"]
    assert sleeper.wait(0.5) == -signal.SIGTERM


def test_down_never_signals_a_process_that_took_over_the_pid(sleeper: subprocess.Popen[bytes]) -> None:
    """A pid alone proves nothing: the start time differs, so there is nothing to stop."""
    other = replace(Owner.me(), process=Identity(sleeper.pid, Identity.of(sleeper.pid).start - 1))
    for path in Path(os.environ["REHEARSAL_STATE"]).glob("*.json"):
        path.unlink()
    state.write(state.state_path("old"), state.RunState("old", "/folder", other))
    with pytest.raises(UsageError, match="not running"):
        stop_runs("old", everything=False)
    assert sleeper.poll() is None


def test_gc_says_what_it_ended(
    places: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing left behind is said, not silence; what others left in this machine's Docker is none of this test's."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{places}/no-engine.sock")
    assert run_command(["gc"]) == 0
    assert capsys.readouterr().out == "nothing was left behind\n"


def test_gc_names_what_is_kept_and_how_to_end_it(
    places: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server or a cluster that nobody uses is otherwise forgotten, and goes on."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{places}/no-engine.sock")
    kept_clusters.write(ClusterState("rehearsal", ready=True, kept=True))
    stores.write(StoreState("rehearsal-kept-1", ready=True, kept=True, maker=str(Owner.me())))
    assert run_command(["gc"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "left alone: PostgreSQL server rehearsal-kept-1, which is kept; --kept ends it",
        "left alone: cluster rehearsal, which is kept; --kept ends it",
    ]


def test_what_gc_cannot_end_keeps_nothing_else_from_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line for each failure, an exit code that a script sees, and what was ended is told all the same."""

    def refuse(**_: object) -> list[str]:
        raise PlatformError("the engine\nrefuses", hint="ask it")

    def unreadable() -> list[str]:
        raise PermissionError(13, "Permission denied", "/state")

    monkeypatch.setattr(state, "gc", unreadable)
    monkeypatch.setattr(sweep, "gc", lambda **_: ["container c"])
    monkeypatch.setattr(clusters, "gc", refuse)
    monkeypatch.setattr(_cli_up, "collect", lambda: ["rehearsal-build-node"])
    assert run_command(["gc"]) == 1
    told = capsys.readouterr()
    assert told.out == "ended container c\nended container rehearsal-build-node\n"
    assert told.err.splitlines() == [
        "rehearse: gc: processes: [Errno 13] Permission denied: '/state'",
        "rehearse: gc: clusters: the engine refuses Hint: ask it",
    ]
    assert run_command(["gc", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["ended"] == ["container c", "container rehearsal-build-node"]
    assert len(document["failed"]) == 2


def test_doctor_speaks_json(capsys: pytest.CaptureFixture[str]) -> None:
    """A script can look for one need."""
    assert run_command(["doctor", "--json"]) == 0
    found = {each["what"]: each["found"] for each in json.loads(capsys.readouterr().out)}
    assert found["Envoy"] == "1.40.0"
