"""`rehearse loop`: a release serves, the world shifts, and the platform finds its way back, step by step."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from harness.backends.kubernetes.world import WorldOptions
from harness.backends.session import open_backend
from harness.components.alert_rules import TIME_SCALE
from harness.errors import RehearsalError, StepFailed, UsageError
from harness.lifecycle.dataset import Dataset, high_utiliser
from harness.lifecycle.loop import LoopPolicy
from harness.lifecycle.rollout import Canary
from harness.loop.closed_loop import CHAMPION, Answering, ClosedLoop
from harness.loop.shifted import RAND_REVERSED, SMALL_DATA, ShiftingTraffic
from harness.model_version import ModelVersion
from harness.platform import Platform
from harness.report.record import LoopRound, MetricRecord, RunRecord
from harness.run import Run
from harness.runtime.clock import Deadline
from harness.runtime.events import Event, Listener
from harness.runtime.wait import wait
from harness.service import Service

CALM_WINDOWS = 2
CALM_S = 120.0
ROUND_S = 300.0
PERSON_S = 3_600.0
RELEASE = Canary(steps=(50, 100))
FRESH_ROWS = 3_700
FALSE_ALARMS_PER_DAY = 0.1 / TIME_SCALE
"""A tenth a day of production's, at the scale that the alert rules have."""


@dataclass(frozen=True)
class LoopPlan:
    """What `rehearse loop` does: the shift, the traffic, and how the loop answers."""

    dataset: Dataset = field(default_factory=high_utiliser)
    reverse: tuple[str, ...] = RAND_REVERSED
    rps: float = 300.0
    window_s: float = 3.0
    lag_s: float = 1.0
    policy: LoopPolicy = field(default_factory=lambda: LoopPolicy(fresh_rows=FRESH_ROWS))
    answering: Answering = field(default_factory=lambda: Answering(training=SMALL_DATA, release=RELEASE))

    @property
    def waits_for_people(self) -> bool:
        return bool(getattr(self.answering.release, "manual", ()))


def rehearse_loop(
    plan: LoopPlan, world: WorldOptions, run_folder: Path, *, listener: Listener | None = None
) -> RunRecord:
    """Play it, write the run folder, and return its record; only a mistake in the input is raised (UsageError)."""
    title = f"The closed loop of {plan.dataset.name}: shift, alert, retrain, release, recover"
    run = Run(run_folder, title=title, backend=world.backend, listener=listener)
    try:
        with run, open_backend(world, run_folder, run.events) as backend, Platform(backend, run) as platform:
            _play(platform, plan)
    except UsageError:
        raise
    except (RehearsalError, KeyboardInterrupt):
        pass  # the record tells it
    return run.record


def _play(platform: Platform, plan: LoopPlan) -> None:
    run = platform.run
    with run.step("champion", "Train, register and serve a champion") as step:
        champion, service = _champion(platform, plan.dataset)
        step.detail = f"v{champion.version}: auc {champion.metrics.get('auc', float('nan')):.3f} on held-out rows"
    traffic = ShiftingTraffic.of(platform, champion, reverse=plan.reverse)
    loop = platform.closed_loop(
        service, policy=plan.policy, answering=plan.answering, window_s=plan.window_s, grace_s=1.0,
        false_alarms_per_day=FALSE_ALARMS_PER_DAY, pages=False,
    )  # fmt: skip
    run.events.listen(_Phases(run))
    with loop:
        with run.step("usual", f"Usual traffic, {plan.rps:g} requests/s: nothing may happen") as step:
            _calm(loop, service, traffic, plan)
            step.detail = f"{len(loop.watch.records())} windows without drift, no alert of the loop's"
        with run.step("shift", f"Shift: {', '.join(plan.reverse)} come the other way round") as step:
            broken = traffic.quality(service, "shifted")
            ended = _shifted(loop, service, traffic, plan)
            step.detail = times(ended)
            if ended.outcome != "recovered":
                raise StepFailed(f"closed loop: {ended.outcome}: {ended.reason}")
    with run.step("recovered", "Ask for shifted rows that no request carried") as step:
        mended = traffic.quality(service, "shifted")
        step.detail = f"{_shown(broken)} before the loop, {_shown(mended)} after it"
        if mended.low <= broken.high:
            raise StepFailed(f"closed loop: quality did not come back: {step.detail}")
    run.record.decided_by = f"{service.revision} replaced v{champion.version}: {times(ended)}; {step.detail}."


def _champion(platform: Platform, dataset: Dataset) -> tuple[ModelVersion, Service]:
    champion = platform.train(dataset, max_depth=4)
    platform.promote(champion, CHAMPION)
    return champion, platform.deploy(champion)


def _calm(loop: ClosedLoop, service: Service, traffic: ShiftingTraffic, plan: LoopPlan) -> None:
    with traffic.load(service, loop.log, "usual", rps=plan.rps, lag_s=plan.lag_s):
        wait(
            lambda: len(loop.watch.records()) >= CALM_WINDOWS, what="windows of usual traffic",
            deadline=Deadline.after(CALM_S), every_s=0.2,
        )  # fmt: skip
    if loop.rounds:
        raise StepFailed(f"closed loop: usual traffic began a round: {', '.join(loop.rounds[0].alerts)}")


def _shifted(loop: ClosedLoop, service: Service, traffic: ShiftingTraffic, plan: LoopPlan) -> LoopRound:
    most_s = PERSON_S if plan.waits_for_people else ROUND_S
    with traffic.load(service, loop.log, "shifted", rps=plan.rps, lag_s=plan.lag_s):
        loop.shift_began(time.time())
        return loop.wait_round(deadline=Deadline.after(most_s))


def times(ended: LoopRound) -> str:
    """Seconds from the shift to each of the moments that people ask for."""
    began = ended.since if ended.shift_at is None else ended.shift_at
    moments = (
        ("noticed", ended.alerted_at),
        ("retrained", ended.trained_at),
        ("released", ended.released_at),
        (ended.outcome, ended.ended_at),
    )
    return ", ".join(f"{word} after {at - began:.1f} s" for word, at in moments if at is not None)


def _shown(metric: MetricRecord) -> str:
    return f"{metric.name} {metric.value:.3f} ({metric.low:.3f} to {metric.high:.3f})"


class _Phases:
    """Tells the loop's phases as the progress of the step that waits for them."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __call__(self, event: Event) -> None:
        if event.kind == "loop.phase":
            self._run.progress("shift", event.message)
