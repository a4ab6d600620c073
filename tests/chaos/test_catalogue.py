"""The catalogue and the matrix: names, settings, what cannot be, samples."""

from __future__ import annotations

import pytest

from harness.chaos.faults import CLUSTER_FAULTS, EVERY_FAULT, FAULTS, Hits, fault_named, phase_named
from harness.chaos.inject import ACTS
from harness.chaos.matrix import PHASES, Case, aims_of, impossible, matrix, policy_named, possible, sample
from harness.chaos.policies import policy_for, without_fault
from harness.errors import UsageError
from harness.lifecycle.rollout import Phase


def test_every_fault_of_the_catalogue_can_be_done() -> None:
    """And nothing else can."""
    assert ACTS.keys() == EVERY_FAULT.keys()
    assert all(fault.does and fault.name == name for name, fault in EVERY_FAULT.items())


def test_the_faults_of_a_cluster_are_had_by_their_name_and_are_not_in_the_matrix_of_this_machine() -> None:
    """`rehearse chaos` runs in the embedded world; a test in a cluster has the mark."""
    assert fault_named("node-drained").hits is Hits.CLUSTER
    assert not {case.fault for case in possible()} & CLUSTER_FAULTS.keys()
    assert {case.fault for case in possible(faults=["node-drained"])} == {"node-drained"}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("replica-kiled", "unknown fault 'replica-kiled'; did you mean replica-killed?"),
        ("x", "unknown fault 'x'; there are: replica-killed, replica-hangs, "),
    ],
)
def test_an_unknown_fault_is_one_line(name: str, told: str) -> None:
    """With the nearest name, or all."""
    with pytest.raises(UsageError) as raised:
        fault_named(name)
    assert str(raised.value).startswith(told)
    assert "\n" not in str(raised.value)


def test_an_unknown_phase_and_an_unknown_policy_are_one_line() -> None:
    """With the nearest name; "done" is no phase in which anything could happen."""
    with pytest.raises(UsageError, match="unknown phase 'watchin'; did you mean watching"):
        phase_named("watchin")
    with pytest.raises(UsageError, match="unknown phase 'done'"):
        phase_named("done")
    with pytest.raises(UsageError, match="unknown policy 'bluegreen'; did you mean blue-green"):
        policy_named("bluegreen")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"shar": 0.1}, "fault replica-errors: it has no setting 'shar'; it has: lasts_s, share"),
        ({"share": 1.1}, "fault replica-errors: share: expected a number from 0 to 1, got 1.1"),
        ({"share": True}, "fault replica-errors: share: expected a number from 0 to 1, got True"),
        ({"lasts_s": 0}, "fault replica-errors: lasts_s: expected seconds above 0, got 0"),
    ],
)
def test_a_wrong_setting_is_one_line(settings: dict[str, object], told: str) -> None:
    """The fault, the setting, what may be."""
    with pytest.raises(UsageError) as raised:
        fault_named("replica-errors").with_settings(**settings)
    assert str(raised.value) == told


@pytest.mark.parametrize(
    ("fault", "settings", "told"),
    [
        (
            "replica-slow",
            {"delay_ms": 800},
            "server fault: delay_ms: expected a mapping with its distribution, got 800",
        ),
        ("events-late", {"late_s": "soon"}, "fault events-late: late_s: expected seconds above 0, got 'soon'"),
    ],
)
def test_a_wrong_delay_is_one_line_before_anything_starts(fault: str, settings: dict[str, object], told: str) -> None:
    """Not a traceback in the middle of the rollout."""
    with pytest.raises(UsageError) as raised:
        fault_named(fault).with_settings(**settings)
    assert str(raised.value) == told


def test_settings_change_a_copy() -> None:
    """The catalogue stays as it is."""
    changed = fault_named("replica-errors").with_settings(share=0.9, lasts_s=2.0)
    assert (changed.settings["share"], changed.lasts_s) == (0.9, 2.0)
    assert (FAULTS["replica-errors"].settings["share"], FAULTS["replica-errors"].lasts_s) == (0.3, None)


def test_the_matrix_has_every_fault_in_every_phase_of_every_policy_or_a_reason() -> None:
    """Each aim of a fault is a case; what is left out says why."""
    seen = {(case.policy, case.phase, case.fault) for case, _ in matrix()}
    assert seen == {(policy, phase, fault) for policy in PHASES for phase in PHASES[policy] for fault in FAULTS}
    assert all(reason == impossible(case) for case, reason in matrix())
    assert {fault for _, _, fault in {(c.policy, c.phase, c.fault) for c in possible()}} == set(FAULTS)


def test_every_phase_of_a_rollout_is_in_the_matrix() -> None:
    """A phase that is new to the state machine must be given its faults."""
    assert {phase for phases in PHASES.values() for phase in phases} == set(Phase) - {Phase.DONE}


def test_names_of_cases_tell_them_apart() -> None:
    """They are test ids."""
    names = [case.name for case in possible()]
    assert len(names) == len(set(names))
    assert Case("canary", Phase.ROLLING_BACK, "mlflow-down").name == "canary/rolling-back/mlflow-down"


def test_a_sample_is_the_same_for_one_seed_and_has_every_fault_before_any_twice() -> None:
    """As many as there are faults: each once; another seed draws others."""
    cases = possible()
    drawn = sample(cases, len(FAULTS), seed=4)
    assert drawn == sample(cases, len(FAULTS), seed=4)
    assert drawn != sample(cases, len(FAULTS), seed=5)
    assert {case.fault for case in drawn} == set(FAULTS)
    assert sorted(sample(cases, 10_000, 1), key=str) == sorted(cases, key=str)


def test_each_case_has_a_policy_and_an_outcome_to_expect() -> None:
    """Of the kind that it names."""
    for case in possible():
        assert policy_for(case.policy, case.phase).kind == case.policy
        assert without_fault(case.policy, case.phase)
        assert case.aim in aims_of(FAULTS[case.fault])
