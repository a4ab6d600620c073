"""The world changes, and the platform answers it: alert, retraining, gate, canary, promotion, and quality is back."""

from __future__ import annotations

from harness import Platform
from harness.components.alert_rules import TIME_SCALE
from harness.lifecycle.dataset import Dataset
from harness.lifecycle.loop import LoopPolicy
from harness.lifecycle.rollout import Canary
from harness.lifecycle.slo import SLO
from harness.loop import SMALL_DATA, Answering, ShiftingTraffic
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait

RPS = 300
WINDOWS = {"window_s": 3.0, "grace_s": 1.0, "false_alarms_per_day": 0.1 / TIME_SCALE, "pages": False}
RELEASE = Canary(SLO(slower_than_ms=250), steps=(50, 100))
ANSWERING = Answering(training=SMALL_DATA, release=RELEASE)


def test_a_shift_is_noticed_and_a_retrained_version_brings_quality_back(
    platform: Platform, high_utiliser: Dataset
) -> None:
    """With no person in it, and no other round for the alerts that follow; before the shift nothing is done."""
    champion = platform.train(high_utiliser, max_depth=4)
    service = platform.deploy(champion)
    traffic = ShiftingTraffic.of(platform, champion)
    with platform.closed_loop(service, policy=LoopPolicy(fresh_rows=3_700), answering=ANSWERING, **WINDOWS) as loop:
        with traffic.load(service, loop.log, "usual", rps=RPS):
            wait(lambda: len(loop.watch.records()) >= 2, what="two windows", deadline=Deadline.after(60))
        assert loop.rounds == []
        broken = traffic.quality(service, "shifted")
        with traffic.load(service, loop.log, "shifted", rps=RPS) as load:
            ended = loop.wait_round(deadline=Deadline.after(120))
    mended = traffic.quality(service, "shifted")

    assert (ended.outcome, service.revision) == ("recovered", "v2")
    assert mended.low > broken.high
    assert load.ledger.unexplained == 0
    assert len(platform.run.record.rounds) == 1
