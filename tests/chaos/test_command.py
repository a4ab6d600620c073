"""`rehearse chaos`: what is chosen, what is refused, and the table at its end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness._cli_chaos import SAMPLE, Choice, list_cases, table
from harness.chaos import invariants
from harness.chaos.faults import FAULTS
from harness.chaos.invariants import Evidence
from harness.cli import run_command
from harness.errors import UsageError
from harness.report.record import ChaosCase
from harness.report.store import load_record


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--fault", "replica-kiled"], "unknown fault 'replica-kiled'; did you mean replica-killed?"),
        (["--fault", "replica-killed/canry"], "unknown aim of replica-killed 'canry'; did you mean canary?"),
        (["--policy", "blue"], "unknown policy 'blue'; did you mean blue-green?"),
        (["--phase", "wathing"], "unknown phase 'wathing'; did you mean watching?"),
        (["--policy", "shadow", "--phase", "gated"], "chaos: no case is left"),
        (["--fault", "model-corrupt/baseline", "--phase", "watching"], "cannot be: the baseline has loaded its model"),
        (["--sample", "0"], "chaos: --sample: expected at least 1, got 0"),
    ],
)
def test_a_wrong_choice_is_one_line_and_exit_code_2(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is started or written."""
    assert run_command(["chaos", *arguments]) == 2
    said = capsys.readouterr()
    assert told in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_the_list_has_every_case_with_the_reason_why_it_cannot_be(capsys: pytest.CaptureFixture[str]) -> None:
    """Each name can be given back as a policy, a phase and a fault."""
    assert run_command(["chaos", "--list", "--json", "--policy", "canary", "--fault", "model-corrupt"]) == 0
    listed = {entry["case"]: entry["impossible"] for entry in json.loads(capsys.readouterr().out)}
    assert listed["canary/watching/model-corrupt/canary"] == ""
    assert (
        listed["canary/watching/model-corrupt/baseline"] == "the baseline has loaded its model before the rollout began"
    )
    assert list_cases(Choice(policies=["canary"]), as_json=False).endswith("that cannot be")


def test_nothing_chosen_is_a_sample_and_what_was_chosen_is_all() -> None:
    """--sample says otherwise."""
    assert len(Choice().drawn()) == SAMPLE
    chosen = Choice(policies=["canary"], faults=["mlflow-down"])
    assert len(chosen.drawn()) == 7
    assert len(Choice(faults=["mlflow-down"], size=2).drawn()) == 2
    with pytest.raises(UsageError):
        Choice(size=-1).drawn()


def test_a_record_of_a_broken_case_names_the_command_that_repeats_it() -> None:
    """Its fault, with its aim, is taken as it stands."""
    (case,) = Choice(["canary"], ["replica-killed/baseline"], ["watching"]).drawn()
    assert case.name == "canary/watching/replica-killed/baseline"


def test_the_table_has_a_line_for_each_case_and_what_broke_below_it() -> None:
    """Durations and shares of the error budget are there where a rollback was."""
    good = ChaosCase(
        policy="canary",
        phase="watching",
        fault="mlflow-down",
        outcome="promoted",
        invariants={"one promotion": ""},
        duration_s=4.04,
    )
    bad = good.model_copy(
        update={
            "outcome": "rolled back",
            "rollback_s": 0.256,
            "budget_share": 0.5,
            "invariants": {"one promotion": "2 promotions"},
        }
    )
    assert table([good, bad]).splitlines() == [
        "policy  phase     fault        outcome      took   rollback  budget  invariants",
        "canary  watching  mlflow-down  promoted     4.0 s  -         -       held",
        "canary  watching  mlflow-down  rolled back  4.0 s  0.26 s    50%     1 broken",
        "    one promotion: 2 promotions",
    ]


def test_a_run_tells_each_case_and_keeps_what_broke(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two cases, of which one breaks an invariant: exit code 1, both are in the record, the folder of one is kept."""

    def doctored(evidence: Evidence) -> str:
        return "so it was doctored" if evidence.fault == FAULTS["gateway-config-rejected"] else ""

    monkeypatch.setattr(invariants, "INVARIANTS", {**invariants.INVARIANTS, "doctored": doctored})
    chosen = ["--policy", "canary", "--phase", "watching", "--fault", "mlflow-down"]
    arguments = ["chaos", *chosen, "--fault", "gateway-config-rejected", "--reports", str(tmp_path)]
    assert run_command(arguments) == 1
    said = capsys.readouterr().out
    (folder,) = tmp_path.iterdir()
    record = load_record(folder)
    assert {case.fault: case.invariants["doctored"] for case in record.chaos} == {
        "mlflow-down": "",
        "gateway-config-rejected": "so it was doctored",
    }
    assert "1 of 2 cases broke an invariant" in said
    assert "    doctored: so it was doctored" in said
    assert [path.name for path in (folder / "cases").iterdir()] == ["canary-watching-gateway-config-rejected"]
    assert (folder / "cases" / "canary-watching-gateway-config-rejected" / "index.html").is_file()
