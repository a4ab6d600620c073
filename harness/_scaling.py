"""How a service scaled under a load: what was measured, beside what the autoscaler's formula predicts for that load."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any

from harness.lifecycle.autoscaler import (
    AutoscalerSpec,
    Look,
    Prediction,
    ServiceModel,
    Stage,
    predict,
    reactions,
)
from harness.report.record import LoadRecord, ReactionTimes, ScalingLook, ScalingRecord
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait

if TYPE_CHECKING:
    from harness.backends.backend import Backend, ScaleSource
    from harness.run import Run
    from harness.service import Service


@dataclass(frozen=True)
class Scaling:
    """A service that is watched while it scales; its `record` is made once the load has ended."""

    service: str
    watch: ScaleSource
    shares: bool = False
    """Whether another revision has a part of the requests, so that a load says little of what this one will get."""

    def wait_ready(self, replicas: int, deadline: Deadline) -> None:
        """Wait until so many replicas are ready, or until the number is down to it."""
        above = self.watch.ready() > replicas

        def reached() -> bool:
            ready = self.watch.ready()
            return ready <= replicas if above else ready >= replicas

        state = lambda: f"{self.watch.ready()} ready; {'; '.join(self.watch.blocked()) or 'nothing is in the way'}"  # noqa: E731
        wait(reached, what=f"{self.service}: {replicas} ready replicas", deadline=deadline, state=state, every_s=0.1)

    def wait_blocked(self, deadline: Deadline) -> str:
        """Wait until something keeps a replica from starting; what that is."""
        return wait(
            lambda: "; ".join(self.watch.blocked()), what=f"{self.service}: a replica that cannot start",
            deadline=deadline, every_s=0.1,
        )  # fmt: skip

    def record(self, load: LoadRecord) -> ScalingRecord:
        """What happened from the load's begin on, and what the formula predicts for a load like it."""
        spec, seen = self.watch.spec(), self.watch.looks()
        looks = [replace(look, at_s=look.at_s - load.started_at) for look in seen]
        above = spec.targets[0].value * (1 + spec.tolerance)
        measured = reactions(looks, above=above, least=spec.least, ended_s=load.duration_s)
        model = service_model(spec, looks, load, self.watch.request_cores())
        predicted = predict(spec, _stages(load), model, self.watch.metrics()) if model and not self.shares else None
        return ScalingRecord(
            service=self.service,
            metric=spec.targets[0].metric,
            target=spec.targets[0].value,
            unit=_UNITS.get(spec.targets[0].metric, "%"),
            least=spec.least,
            most=spec.most,
            load=load.name,
            rps=load.achieved_rps,
            load_s=load.duration_s,
            looks=[ScalingLook(**asdict(look)) for look in looks if look.at_s >= -BEFORE_S],
            measured=ReactionTimes(**asdict(measured)),
            blocked=self.watch.blocked(),
            **_predicted(predicted, model, of_service=spec.targets[0].kind.of_service),
        )


@contextmanager
def scaled(backend: Backend, service: Service, run: Run, revision: str) -> Iterator[Scaling]:
    """Watch a revision scale while the block lasts; every load that ends within it has its record at the end."""
    before, name = len(run.record.loads), f"{service.namespace}/{service.name}"
    watch = backend.watch_scaling(service.namespace, service.name, revision)
    told = name if revision == service.revision else f"{name} ({revision})"
    scaling = Scaling(told, watch, shares=bool(service.document.spec.canary))
    try:
        yield scaling
    finally:
        watch.close()
        loads = [load for load in run.record.loads[before:] if load.service == name]
        run.record.scaling += [scaling.record(load) for load in loads]


BEFORE_S = 10.0
_UNITS = {"concurrency": "in flight", "rps": "requests/s"}


def service_model(
    spec: AutoscalerSpec, looks: Sequence[Look], load: LoadRecord, request_cores: float
) -> ServiceModel | None:
    """The service as it showed itself: what a request cost once the replicas were all there, and how long a start took.

    The cost is in CPU, or in what it adds to a metric of the whole service. None where the measured load says too
    little: no figure of the second half of the load.
    """
    spans = [look for look in looks if look.metric is not None and load.duration_s / 2 <= look.at_s <= load.duration_s]
    of_service = spec.targets[0].kind.of_service
    if not spans or not load.achieved_rps or not (request_cores or of_service):
        return None
    found = reactions(looks, above=spec.targets[0].value, least=spec.least, ended_s=load.duration_s)
    start_s = max(0.0, (found.first_s or 0.0) - (found.decided_s or 0.0))
    if of_service:
        used = median((look.metric or 0.0) * max(1, look.desired) for look in spans)
        return ServiceModel(0.0, request_cores or 1.0, start_s, of_service_per_rps=used / load.achieved_rps)
    used = median((look.metric or 0.0) / 100 * request_cores * max(1, look.ready) for look in spans)
    return ServiceModel(used / load.achieved_rps, request_cores, start_s)


def _stages(load: LoadRecord) -> tuple[Stage, Stage]:
    return Stage(0.0, load.achieved_rps), Stage(load.duration_s, 0.0)


def _predicted(prediction: Prediction | None, model: ServiceModel | None, *, of_service: bool) -> dict[str, Any]:
    if prediction is None or model is None:
        return {}
    return {
        "predicted": ReactionTimes(**asdict(prediction.reactions)),
        "predicted_looks": [ScalingLook(**asdict(look)) for look in prediction.looks],
        "cpu_ms_per_request": None if of_service else model.cpu_s_per_request * 1000,
        "start_s": model.start_s,
    }
