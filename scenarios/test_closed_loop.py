"""The world changes, and the platform answers it: alert, retraining, gate, canary, promotion, and quality is back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from harness import Platform
from harness.cli import run_command
from harness.components.alert_rules import TIME_SCALE
from harness.lifecycle.dataset import Dataset
from harness.lifecycle.loop import LoopPolicy, Phase
from harness.lifecycle.rollout import Canary
from harness.lifecycle.slo import SLO
from harness.lifecycle.spec import GatePolicy
from harness.loop import RAND_REVERSED, SMALL_DATA, Answering, ClosedLoop, ShiftingTraffic
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait
from harness.service import Service

RPS = 300
PATIENT = SLO(slower_than_ms=250)  # a training runs beside the traffic
RELEASE = Canary(PATIENT, steps=(50, 100))
HELPFUL = Answering(training=SMALL_DATA, release=RELEASE)
HALF_BLIND = ("chronic_diseases", "health_good", "log_incentive")
"""Reversed, they leave the champion a little better than a coin."""
OPEN_GATE = GatePolicy(margin=1.0, min_metric=0.0, max_calibration_error=1.0, slice_margin=1.0)


def test_a_shift_is_noticed_and_a_retrained_version_brings_quality_back(
    platform: Platform, high_utiliser: Dataset
) -> None:
    """With no person in it, and no other round for the alerts that follow; before the shift nothing is done."""
    service, traffic, loop = _watched(platform, high_utiliser, LoopPolicy(fresh_rows=3_700), HELPFUL)
    with loop:
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


def test_a_version_that_does_not_help_is_taken_back_and_an_alert_storm_trains_nothing_more(
    platform: Platform, high_utiliser: Dataset
) -> None:
    """The gate was open, the canary answered well: only the labels show it. The alerts fire on, and people decide."""
    policy = LoopPolicy(fresh_rows=3_700, recover_s=10.0)
    training = {"estimator": "scenarios.broken_models:guesses", "source_root": str(Path.cwd())}
    answering = Answering(training=training, gate=OPEN_GATE, release=RELEASE)
    service, traffic, loop = _watched(platform, high_utiliser, policy, answering, HALF_BLIND)
    with loop, traffic.load(service, loop.log, "shifted", rps=RPS):
        wait(lambda: loop.phase is Phase.GATHERING, what="a round", deadline=Deadline.after(60), every_s=0.1)
        platform.alerts.take(_storm(service, 50))
        ended = loop.wait_round(deadline=Deadline.after(120))
        platform.alerts.take(_storm(service, 5, name="after"))
        wait(lambda: loop.rounds[0].ignored >= 5, what="the later alerts", deadline=Deadline.after(30), every_s=0.1)
        trained = [model.version for model in platform.run.record.models]

    assert (ended.outcome, service.revision) == ("did not help", "v1")
    assert (ended.joined >= 50, len(loop.rounds), trained) == (True, 1, [1, 2])
    assert platform.registry.aliases(high_utiliser.name)["champion"] == 1


def test_a_person_can_stand_between_the_retrained_version_and_the_users(
    platform: Platform, high_utiliser: Dataset
) -> None:
    """The canary waits at half of the traffic until `rehearse approve`, and the loop goes on from there."""
    manual = Canary(PATIENT, steps=(50, 100), manual=(50,))
    service, traffic, loop = _watched(
        platform, high_utiliser, LoopPolicy(fresh_rows=3_700), Answering(training=SMALL_DATA, release=manual)
    )
    with loop, traffic.load(service, loop.log, "shifted", rps=RPS), _approving(platform) as answers:
        ended = loop.wait_round(deadline=Deadline.after(120))

    (rollout,) = platform.run.record.rollouts
    assert answers[-1] == 0
    assert (ended.outcome, service.revision) == ("recovered", "v2")
    assert [(gate.percent, gate.answer, gate.by) for gate in rollout.approvals] == [(50, "approved", "ada")]


def _watched(
    platform: Platform,
    dataset: Dataset,
    policy: LoopPolicy,
    answering: Answering,
    reverse: Sequence[str] = RAND_REVERSED,
) -> tuple[Service, ShiftingTraffic, ClosedLoop]:
    champion = platform.train(dataset, max_depth=4)
    platform.promote(champion, "champion")
    service = platform.deploy(champion)
    loop = platform.closed_loop(
        service, policy=policy, answering=answering,
        window_s=3.0, grace_s=1.0, false_alarms_per_day=0.1 / TIME_SCALE, pages=False,
    )  # fmt: skip
    return service, ShiftingTraffic.of(platform, champion, reverse=reverse), loop


def _storm(service: Service, count: int, *, name: str = "storm") -> list[dict[str, object]]:
    """So many drift alerts of the service, as Alertmanager tells them."""
    labels = {"alertname": "RehearsalDrift", "namespace": service.namespace, "service": service.name}
    began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return [
        {"status": "firing", "labels": labels, "fingerprint": f"{name}-{number}", "startsAt": began}
        for number in range(count)
    ]


@contextmanager
def _approving(platform: Platform) -> Iterator[list[int]]:
    """Somebody who runs `rehearse approve` again and again until a gate is open."""
    codes: list[int] = []
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.5) and 0 not in codes:
            codes.append(run_command(["approve", platform.run.record.run_id, "--by", "ada"]))

    person = threading.Thread(target=ask)
    person.start()
    try:
        yield codes
    finally:
        over.set()
        person.join()
