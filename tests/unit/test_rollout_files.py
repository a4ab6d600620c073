"""What a rollout keeps in the run folder: its state, its lock, and what a person said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness._rollout_files import RolloutFiles, gates, the_only_rollout
from harness.cli import run_command
from harness.errors import UsageError
from harness.lifecycle.rollout import Approval, Canary, Phase, State
from harness.report.record import Approval as Gate
from harness.runtime import state as run_state
from harness.runtime.owner import Owner

OPEN = State(
    Canary(manual=(10,)),
    0.0,
    names=("v1", "v2"),
    phase=Phase.GATED,
    approvals=(Gate(percent=10, asked_at=1.0, answered_at=None, answer="nobody answered"),),
)
ANSWERED = OPEN.approvals[0].model_copy(update={"answered_at": 2.0, "answer": "approved"})


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run that lives: this process owns it."""
    monkeypatch.setenv("REHEARSAL_STATE", str(tmp_path / "state"))
    folder = tmp_path / "20260101-090000-release"
    folder.mkdir()
    run_state.write(run_state.state_path(folder.name), run_state.RunState(folder.name, str(folder), Owner.me()))
    return folder


def test_each_rollout_of_a_run_has_files_of_its_own(tmp_path: Path) -> None:
    """Numbered, with the document to go back to."""
    first, second = (RolloutFiles.new(tmp_path, {"number": number}) for number in (1, 2))
    assert [first.path.name, second.path.name] == ["1.json", "2.json"]
    assert second.before() == {"number": 2}


def test_a_state_is_read_as_it_was_kept(tmp_path: Path) -> None:
    """Whole or not at all."""
    files = RolloutFiles.new(tmp_path, {})
    with pytest.raises(UsageError, match=r"1\.json: not the state of a rollout"):
        files.load()
    files.save(OPEN)
    assert files.load() == OPEN
    files.interrupted()
    assert not files.path.exists()
    assert list(gates(tmp_path)) == []


def test_one_rollout_of_a_service_at_a_time(tmp_path: Path) -> None:
    """Another service's may run beside it, and the next one after it."""
    with the_only_rollout(tmp_path, "production/model"):
        with pytest.raises(UsageError, match="service production/model: a rollout is under way"):
            the_only_rollout(tmp_path, "production/model").__enter__()
        with the_only_rollout(tmp_path, "staging/model"):
            pass
    with the_only_rollout(tmp_path, "production/model"):
        pass


@pytest.mark.parametrize(("flags", "approved"), [([], True), (["--refuse"], False)])
def test_rehearse_approve_answers_the_gate_that_is_open(
    run: Path, capsys: pytest.CaptureFixture[str], flags: list[str], approved: bool
) -> None:
    """Only the gate that is open, by name."""
    files = RolloutFiles.new(run, {})
    files.save(OPEN)
    assert files.said() is None
    assert run_command(["approve", "20260101", "--by", "ada", *flags]) == 0
    assert files.said() == Approval(10, approved, "ada")
    verb = "approved" if approved else "refused"
    assert capsys.readouterr().out == f"{verb} v2 at 10 % as ada ({run.name})\n"


@pytest.mark.parametrize(
    "kept",
    [
        None,
        replace(OPEN, phase=Phase.WATCHING),
        replace(OPEN, approvals=(OPEN.approvals[0].model_copy(update={"answered_at": 2.0}),)),
    ],
    ids=["no rollout", "no gate", "answered already"],
)
def test_there_is_nothing_to_approve_without_an_open_gate(
    run: Path, capsys: pytest.CaptureFixture[str], kept: State | None
) -> None:
    """One line, exit code 2, and no answer lies around for a later gate."""
    files = RolloutFiles.new(run, {})
    if kept is not None:
        files.save(kept)
    assert run_command(["approve"]) == 2
    assert capsys.readouterr().err == f"rehearse: approve: no rollout of {run.name} waits for a person\n"
    assert files.said() is None


def test_with_several_gates_open_nothing_is_guessed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The line names them, and one of them can be named."""
    first, second = (RolloutFiles.new(run, {}) for _ in range(2))
    first.save(OPEN)
    second.save(OPEN)
    assert run_command(["approve"]) == 2
    assert "several rollouts" in capsys.readouterr().err
    assert run_command(["approve", "--rollout", "3"]) == 2
    assert run_command(["approve", "--rollout", "2"]) == 0
    assert first.said() is None
    assert second.said() is not None
