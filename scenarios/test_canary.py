"""A canary is judged by what it does to requests."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from harness import SLO, Outcome, Platform
from harness.cli import run_command
from harness.errors import ConfigError, UsageError
from harness.lifecycle.dataset import Dataset
from harness.lifecycle.rollout import Canary, Phase, State


def test_a_better_model_is_promoted(platform: Platform, high_utiliser: Dataset) -> None:
    """A canary that keeps its SLOs replaces the baseline without losing a request."""
    v1 = platform.train(high_utiliser, max_depth=2)
    v2 = platform.train(high_utiliser, max_depth=6)
    service = platform.deploy(v1)
    with platform.load(service, rps=200) as traffic:
        rollout = service.canary(v2, steps=(10, 50, 100), slo=SLO(errors=0.02, slower_than_ms=100, slow=0.1))
    assert rollout.outcome is Outcome.PROMOTED
    assert traffic.ledger.lost == 0
    assert traffic.ledger.unexplained == 0


def test_a_canary_that_errs_is_rolled_back(platform: Platform, high_utiliser: Dataset) -> None:
    """A canary that fails a tenth of its requests is rolled back, and the baseline serves on."""
    v1 = platform.train(high_utiliser, max_depth=2)
    v2 = platform.train(high_utiliser, train="scenarios.broken_models:errs", share=0.1)
    service = platform.deploy(v1)
    with platform.load(service, rps=200) as traffic:
        rollout = service.canary(v2, slo=SLO(errors=0.01, slower_than_ms=100, slow=0.1))
    assert rollout.outcome is Outcome.ROLLED_BACK
    assert "errors" in rollout.reason
    assert service.revision == "v1"
    assert traffic.ledger.unexplained == 0


def test_a_canary_that_refuses_the_clients_rows_is_rolled_back(platform: Platform, high_utiliser: Dataset) -> None:
    """A version trained without one of the columns answers 400 to every client of the baseline: it goes."""
    v1 = platform.train(high_utiliser, max_depth=2)
    v2 = platform.train(replace(high_utiliser, ignore=("poor_health", "log_incentive"), columns={}), max_depth=2)
    service = platform.deploy(v1)
    with platform.load(service, rps=200) as traffic:
        rollout = service.canary(v2, slo=SLO(errors=0.01, slower_than_ms=100, slow=0.1))
    assert rollout.outcome is Outcome.ROLLED_BACK
    assert "errors" in rollout.reason
    assert service.revision == "v1"
    assert traffic.ledger.unexplained == 0


def test_a_canary_that_is_slow_is_rolled_back(platform: Platform, high_utiliser: Dataset) -> None:
    """A canary that answers right but takes too long is rolled back, and the baseline serves on."""
    v1 = platform.train(high_utiliser, max_depth=2)
    v2 = platform.train(high_utiliser, train="scenarios.broken_models:dawdles", seconds=0.12)
    service = platform.deploy(v1)
    with platform.load(service, rps=100) as traffic:
        rollout = service.canary(v2, slo=SLO(errors=0.01, slower_than_ms=100, slow=0.1))
    assert rollout.outcome is Outcome.ROLLED_BACK
    assert "slow" in rollout.reason
    assert service.revision == "v1"
    assert traffic.ledger.unexplained == 0


def test_a_manual_gate_waits_for_rehearse_approve(platform: Platform, high_utiliser: Dataset) -> None:
    """The canary is proven at 50 %, pauses, and goes on to all users when a person says so."""
    v1 = platform.train(high_utiliser, max_depth=2)
    v2 = platform.train(high_utiliser, max_depth=6)
    service = platform.deploy(v1)
    said = list[int]()

    def ask(state: State) -> None:
        if state.phase is Phase.GATED and not said:
            said.append(run_command(["approve", platform.run.record.run_id, "--by", "ada"]))

    policy = Canary(SLO(errors=0.02, slower_than_ms=100, slow=0.1), steps=(50, 100), pause_s=2, manual=(50,))
    with platform.load(service, rps=100) as traffic:
        rollout = service.roll_out(v2, policy, on_state=ask)
    assert said == [0]
    assert rollout.outcome is Outcome.PROMOTED, rollout.reason
    assert [(gate.answer, gate.by) for gate in rollout.record.approvals] == [("approved", "ada")]
    assert rollout.record.steps[0].duration_s > 2
    assert traffic.ledger.unexplained == 0


def test_a_refused_gate_rolls_back_and_a_second_rollout_has_to_wait(platform: Platform, high_utiliser: Dataset) -> None:
    """While a person thinks, no other rollout of the service can begin; a no gives the baseline its traffic back."""
    v1 = platform.train(high_utiliser, max_depth=2)
    v2 = platform.train(high_utiliser, max_depth=6)
    service = platform.deploy(v1)
    refusals = list[str]()

    def ask(state: State) -> None:
        if state.phase is Phase.GATED and not refusals:
            with pytest.raises(UsageError) as caught:
                service.blue_green(v2)
            refusals.append(caught.value.message)
            run_command(["approve", platform.run.record.run_id, "--refuse", "--by", "grace"])

    policy = Canary(SLO(errors=0.02, slower_than_ms=100, slow=0.1), steps=(50, 100), manual=(50,))
    with platform.load(service, rps=100) as traffic:
        rollout = service.roll_out(v2, policy, on_state=ask)
    assert refusals == [
        f"service {service.namespace}/{service.name}: a rollout is under way, and there is one at a time"
    ]
    assert rollout.outcome is Outcome.ROLLED_BACK
    assert rollout.reason == "refused by grace at 50 %"
    assert service.revision == "v1"
    assert traffic.ledger.unexplained == 0


def test_a_rollout_whose_process_died_goes_on_from_its_state(platform: Platform, high_utiliser: Dataset) -> None:
    """The state that was kept in the middle of a step is enough to end the rollout as if nothing had happened."""
    v1 = platform.train(high_utiliser, max_depth=2)
    v2 = platform.train(high_utiliser, max_depth=6)
    service = platform.deploy(v1)
    policy = Canary(SLO(errors=0.02, slower_than_ms=100, slow=0.1), steps=(50, 100))
    states = platform.run.folder / "rollouts"

    def die(state: State) -> None:
        if state.phase is Phase.WATCHING and state.percent == 100:
            shutil.copy(states / "1.json", states / "1.kept")
            raise SystemExit

    with platform.load(service, rps=100) as traffic:
        with pytest.raises(SystemExit):
            service.roll_out(v2, policy, on_state=die)
        (states / "1.kept").replace(states / "1.json")
        rollout = service.roll_out(v2, policy, resume=states / "1.json")
    assert rollout.outcome is Outcome.PROMOTED, rollout.reason
    assert rollout.record.resumed == 1
    assert [step.percent for step in rollout.record.steps] == [50, 100]
    assert service.revision == "v2"
    assert traffic.ledger.unexplained == 0


def test_an_slo_that_the_traffic_cannot_show_is_refused_before_anything_starts(
    platform: Platform, high_utiliser: Dataset
) -> None:
    """Showing 0.01 % takes tens of thousands of requests: one line says how many, and what would do."""
    v1 = platform.train(high_utiliser, max_depth=2)
    service = platform.deploy(v1)
    with platform.load(service, rps=20), pytest.raises(ConfigError, match=r"takes \d+ canary requests"):
        service.canary(v1, slo=SLO(errors=0.0001))
    assert platform.run.record.rollouts == []
