"""Blue-green on a virtual clock: warm, switch, hold, drain, and the way back."""

from __future__ import annotations

import pytest

from harness.lifecycle.rollout import BlueGreen, Outcome, Phase
from harness.lifecycle.slo import SLO
from harness.runtime.clock import VirtualClock
from tests.unit.simulated import GOOD, Simulated, rehearse

LOOSE = SLO(errors=0.02)


def test_green_is_warmed_gets_all_traffic_is_held_and_promoted() -> None:
    """Each phase in order; blue goes last."""
    serving, phases = Simulated(VirtualClock()), list[Phase]()
    record = rehearse(serving, BlueGreen(LOOSE), on_state=lambda state: phases.append(state.phase))
    assert serving.calls == ["start", "mirror 100", "weight 100", "promote"]
    assert record.outcome == Outcome.PROMOTED
    assert list(dict.fromkeys(phases)) == [
        Phase.STARTING,
        Phase.SHIFTING,
        Phase.WATCHING,
        Phase.DRAINING,
        Phase.PROMOTING,
        Phase.DONE,
    ]
    assert [(step.percent, step.decision) for step in record.steps] == [(0, "warm"), (100, "promote")]
    assert record.steps[1].duration_s >= 5 + 2


def test_without_warming_green_gets_the_traffic_at_once() -> None:
    """Warming is optional."""
    serving = Simulated(VirtualClock())
    record = rehearse(serving, BlueGreen(LOOSE, warm_s=0, warm_requests=0))
    assert serving.calls == ["start", "weight 100", "promote"]
    assert record.outcome == Outcome.PROMOTED


def test_green_that_errs_on_copies_never_meets_a_user() -> None:
    """Its first copies already show it, and nobody was harmed."""
    serving = Simulated(VirtualClock(), behaviour={"v1": GOOD, "v2": (0.6, 0.0)})
    record = rehearse(serving, BlueGreen(LOOSE, warm_s=10, warm_requests=500))
    assert serving.calls == ["start", "mirror 100", "roll back"]
    assert record.outcome == Outcome.ROLLED_BACK
    assert record.rollback is not None
    assert record.rollback.harmed == 0


def test_green_that_is_slow_at_first_is_warmed_for_that() -> None:
    """Slow copies are no reason to go back; slow users' requests are."""
    serving = Simulated(VirtualClock(), at_percent={0: {"v2": (0.0, 1.0)}})
    assert rehearse(serving, BlueGreen(LOOSE)).outcome == Outcome.PROMOTED
    always = Simulated(VirtualClock(), behaviour={"v1": GOOD, "v2": (0.0, 1.0)})
    record = rehearse(always, BlueGreen(LOOSE))
    assert record.outcome == Outcome.ROLLED_BACK
    assert record.reason.startswith("slow")


def test_green_that_errs_with_the_traffic_is_rolled_back_by_one_action() -> None:
    """Blue has kept its replicas: the way back is at once."""
    serving = Simulated(VirtualClock(), at_percent={100: {"v2": (0.3, 0.0)}})
    record = rehearse(serving, BlueGreen(LOOSE))
    assert serving.calls == ["start", "mirror 100", "weight 100", "roll back"]
    assert record.outcome == Outcome.ROLLED_BACK
    assert record.rollback is not None
    assert 0 < record.rollback.harmed < 100


def test_green_that_breaks_while_blue_drains_is_rolled_back() -> None:
    """Until it is promoted there is a way back."""
    serving = Simulated(VirtualClock())
    phases = list[Phase]()

    def breaks() -> None:
        if Phase.DRAINING in phases:
            serving.behaviour["v2"] = (0.9, 0.0)

    serving.counters = breaks
    policy = BlueGreen(LOOSE, drain_s=20)
    record = rehearse(serving, policy, on_state=lambda state: phases.append(state.phase))
    assert Phase.DRAINING in phases
    assert record.outcome == Outcome.ROLLED_BACK


def test_blue_that_still_answers_is_not_taken_away() -> None:
    """At 100 % a request now and then reaches blue: it does not drain, and green is not promoted."""
    serving = Simulated(VirtualClock(), splits={100: 97})
    record = rehearse(serving, BlueGreen(LOOSE, max_hold_s=30))
    assert record.outcome == Outcome.NOT_ENOUGH_EVIDENCE
    assert "v1 answered a request" in record.reason
    assert "promote" not in serving.calls


@pytest.mark.parametrize("serving", [Simulated(VirtualClock(), rps=0.5), Simulated(VirtualClock(), late_s=9.0)])
def test_green_without_fresh_evidence_is_not_promoted(serving: Simulated) -> None:
    """Too little traffic, or readings that are too old."""
    record = rehearse(serving, BlueGreen(LOOSE, max_hold_s=20))
    assert record.outcome == Outcome.NOT_ENOUGH_EVIDENCE
    assert "promote" not in serving.calls


def test_green_is_not_switched_to_before_it_has_answered_its_copies() -> None:
    """Five hundred were asked for, however short the time."""
    record = rehearse(Simulated(VirtualClock()), BlueGreen(LOOSE, warm_s=0, warm_requests=500))
    assert record.steps[0].counts[1].requests >= 500
