"""The closed loop at its edge: a thread that looks, and does what harness.lifecycle.loop decides."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from harness.errors import RehearsalError, UsageError
from harness.lifecycle.dataset import HELD_OUT
from harness.lifecycle.loop import Answer, Do, LoopPolicy, Phase, Seen, State, step
from harness.lifecycle.rollout import Canary, Outcome, Policy
from harness.lifecycle.spec import GatePolicy
from harness.report.record import AlertRecord, LoopRound, MetricRecord, QualityWindow
from harness.runtime.background import Background
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait

if TYPE_CHECKING:
    from harness._drift_watch import DriftWatch
    from harness._prediction_log import PredictionLog
    from harness.lifecycle.dataset import Dataset
    from harness.lifecycle.driver import Approve
    from harness.model_version import ModelVersion
    from harness.platform import Platform
    from harness.service import Service

EVERY_S = 0.5
STAGING, CHAMPION = "staging", "champion"


@dataclass(frozen=True)
class Answering:
    """How an alert is answered: `training` are fields of a TrainingSpec, then the gate, and the policy of the release.

    A policy with `manual` weights waits for a person at each; `approve` answers for one, by default what `rehearse
    approve` said.
    """

    training: Mapping[str, Any] = field(default_factory=dict)
    gate: GatePolicy = field(default_factory=GatePolicy)
    release: Policy = field(default_factory=lambda: Canary(steps=(25, 100)))
    approve: Approve | None = None


class ClosedLoop(Background):
    """While its block lasts, alerts of a service are answered; `watch` is its drift watch, `log` its prediction log.

    The data that a version is trained on are the labelled rows of the log since the drifted window began.
    """

    def __init__(
        self, platform: Platform, service: Service, watch: DriftWatch, log: PredictionLog, policy: LoopPolicy,
        answering: Answering,
    ) -> None:  # fmt: skip
        super().__init__("closed-loop")
        self.watch, self.log, self.policy = watch, log, policy
        self._platform, self._service, self._answering = platform, service, answering
        require_reference(policy, watch.least_reference)
        self._inbox = platform.alerts
        self._serving = service.require_model()
        self._previous = self._candidate = self._serving
        self._before: MetricRecord | None = None
        self._shift_at: float | None = None
        self._state = State()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            super().__exit__(kind, error, trace)
        finally:
            self._platform.run.record.rounds += self.rounds

    @property
    def rounds(self) -> list[LoopRound]:
        """All rounds so far, the last one perhaps under way."""
        return [round_.model_copy(update={"shift_at": self._shift_at}) for round_ in self._state.rounds]

    @property
    def phase(self) -> Phase:
        return self._state.phase

    def shift_began(self, at: float) -> None:
        """Note for the record when the shift began (Unix seconds), if somebody knows; the loop does not."""
        self._shift_at = at

    def wait_round(self, number: int = 1, *, deadline: Deadline) -> LoopRound:
        """The round of this number, from 1, once it has ended. Errors: WaitTimeout, and what ended the loop."""

        def ended() -> LoopRound | None:
            if self.error is not None:
                raise self.error
            return next(iter(self.rounds[number - 1 : number]), None) if self._has_ended(number) else None

        return wait(ended, what=f"round {number} of the closed loop", deadline=deadline, state=self._words, every_s=0.1)

    def _has_ended(self, number: int) -> bool:
        rounds = self._state.rounds
        return len(rounds) >= number and rounds[number - 1].ended_at is not None

    def run(self) -> None:
        """Look, and do what follows, until the block ends."""
        answer: Answer | None = None
        try:
            while not self.stopped.is_set():
                seen = replace(self._look(), answer=answer)
                todo = self._enter(*step(self._state, self.policy, seen, time.time()))
                answer = self._act(todo) if todo else None
                if todo is None:
                    self.stopped.wait(EVERY_S)
        except RehearsalError as error:
            self._tell("loop.failed", f"the closed loop ended: {error.message}", level="error")
            raise

    def _enter(self, state: State, todo: Do | None) -> Do | None:
        before, self._state = self._state, state
        if state.phase is not before.phase:
            self._tell("loop.phase", self._words())
        return todo

    def _look(self) -> Seen:
        seen = Seen(alerts=self._alerts(), since=self._drifted_since())
        if self._state.phase is Phase.GATHERING:
            return self._gathered(seen)
        if self._state.phase is Phase.RECOVERING:
            return self._recovered(seen)
        return seen

    def _alerts(self) -> list[AlertRecord]:
        where = {"namespace": self._service.namespace, "service": self._service.name}
        return [alert for alert in self._inbox.records() if where.items() <= alert.labels.items()]

    def _drifted_since(self) -> float | None:
        """The beginning of the first window of the last unbroken row of drifted ones."""
        since = None
        for record in reversed(self.watch.records()):
            if not record.drifted:
                break
            since = record.start
        return since

    def _gathered(self, seen: Seen) -> Seen:
        since = self._state.round.since
        self._before = self._before or _metric(self.log.quality(until=since))
        found = self.log.export(self._fresh, target=self._serving.dataset.target, since=since)
        during = _metric(found.windows[-1] if found.windows else None)
        return replace(seen, rows=found.labelled, before=self._before, during=during)

    def _recovered(self, seen: Seen) -> Seen:
        found = self.log.quality(since=self._state.round.since, revision=self._service.revision)
        return replace(seen, after=_metric(found), after_rows=found.labelled if found else 0)

    def _act(self, todo: Do) -> Answer:
        """Do it; what fails is an answer too."""
        acts: dict[Do, Callable[[], Answer]] = {
            Do.TRAIN: self._train,
            Do.JUDGE: self._judge,
            Do.RELEASE: lambda: self._roll_out(self._candidate),
            Do.REVERT: lambda: self._roll_out(self._previous),
        }
        try:
            return acts[todo]()
        except RehearsalError as error:
            return Answer(False, error.message)

    def _train(self) -> Answer:
        name = f"retraining-{len(self._state.rounds)}"
        spec = self._platform.training_spec(self._fresh_dataset(), name=name, **self._answering.training)
        self._candidate = self._platform.run_pipeline(spec)
        return Answer(True, f"version {self._candidate.version}", self._candidate.version)

    def _judge(self) -> Answer:
        gate = self._platform.judge(self._candidate, self._serving, policy=self._answering.gate)
        if gate.passed:
            self._platform.promote(self._candidate, STAGING, gate=gate)
        return Answer(gate.passed, gate.refusal or gate.summary)

    def _roll_out(self, model: ModelVersion) -> Answer:
        """Release a version; once it has all traffic it is the champion, and drift is judged by its reference."""
        rollout = self._service.roll_out(model, self._answering.release, approve=self._answering.approve)
        if rollout.outcome is not Outcome.PROMOTED:
            return Answer(False, f"v{model.version} {rollout.outcome}: {rollout.reason}")
        self._previous, self._serving = self._serving, model
        self._platform.promote(model, CHAMPION)
        self._follow(model)
        return Answer(True, f"v{model.version} serves")

    def _follow(self, model: ModelVersion) -> None:
        """What cannot be watched serves all the same; its alerts will not end, and the round says so."""
        try:
            self.watch.follow(model)
        except RehearsalError as error:
            self._tell(
                "loop.unwatched", f"drift of v{model.version} cannot be judged: {error.message}", level="warning"
            )

    def _fresh_dataset(self) -> Dataset:
        """The log's rows as a data set: encoded labels, the model's columns and no others."""
        known, features = self._serving.dataset, self._serving.features
        return replace(
            known,
            source=str(self._fresh),
            threshold=None,
            positive=None,
            slices=tuple(name for name in known.slices if name in features),
            ignore=(),
            columns={name: kind for name, kind in known.columns.items() if name in features},
            ranges={name: span for name, span in known.ranges.items() if name in features},
        )

    @property
    def _fresh(self) -> Path:
        folder = self._platform.run.folder / "loop"
        folder.mkdir(exist_ok=True)
        return folder / f"fresh-{len(self._state.rounds)}.parquet"

    def _words(self) -> str:
        if not self._state.rounds:
            return "watching; no alert yet"
        last = self._state.round
        if last.ended_at is not None:
            return f"round {len(self._state.rounds)} {last.outcome}: {last.reason}"
        return f"round {len(self._state.rounds)} {self._state.phase}: {', '.join(last.alerts)}, {last.rows} fresh rows"

    def _tell(self, kind: str, words: str, **options: Any) -> None:
        self._platform.run.events.emit(kind, f"{self._service.namespace}/{self._service.name}", words, **options)


def require_reference(policy: LoopPolicy, least: int) -> None:
    """A version's held-out rows are its drift reference: too few, and the drift of what was promoted is not judged."""
    needed = math.ceil(least / HELD_OUT)
    if policy.fresh_rows < needed:
        raise UsageError(
            f"loop.fresh_rows: expected at least {needed} for windows this frequent, got {policy.fresh_rows}: "
            f"{HELD_OUT:.0%} of them are the new version's drift reference, which needs {least} rows",
            hint="Or take longer windows, or accept more false alarms a day.",
        )


def _metric(window: QualityWindow | None) -> MetricRecord | None:
    return window.metrics[0] if window is not None and window.metrics else None
