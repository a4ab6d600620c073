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
    MetricsModel,
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
        predicted = predict(spec, _stages(load), model, METRICS) if model else None
        return ScalingRecord(
            service=self.service,
            metric=spec.targets[0].metric,
            target=spec.targets[0].value,
            least=spec.least,
            most=spec.most,
            load=load.name,
            rps=load.achieved_rps,
            load_s=load.duration_s,
            looks=[ScalingLook(**asdict(look)) for look in looks if look.at_s >= -BEFORE_S],
            measured=ReactionTimes(**asdict(measured)),
            blocked=self.watch.blocked(),
            **_predicted(predicted, model),
        )


@contextmanager
def scaled(backend: Backend, service: Service, run: Run) -> Iterator[Scaling]:
    """Watch a service scale while the block lasts; every load that ends within it has its record at the end."""
    before, name = len(run.record.loads), f"{service.namespace}/{service.name}"
    watch = backend.watch_scaling(service.namespace, service.name, service.revision)
    scaling = Scaling(name, watch)
    try:
        yield scaling
    finally:
        watch.close()
        loads = [load for load in run.record.loads[before:] if load.service == name]
        run.record.scaling += [scaling.record(load) for load in loads]


BEFORE_S = 10.0
METRICS = MetricsModel(every_s=10, window_s=15, lag_s=8)
"""metrics-server in kind, as measured: a reading every 10 s, a mean over 10 to 16 s, 8 s old when it is served."""


def service_model(
    spec: AutoscalerSpec, looks: Sequence[Look], load: LoadRecord, request_cores: float
) -> ServiceModel | None:
    """The service as it showed itself: CPU per request once the replicas were all there, and how long a start took.

    None where the measured load says too little: no figure of the second half of the load.
    """
    spans = [look for look in looks if look.metric is not None and load.duration_s / 2 <= look.at_s <= load.duration_s]
    if not spans or not load.achieved_rps or not request_cores:
        return None
    used = median((look.metric or 0.0) / 100 * request_cores * max(1, look.ready) for look in spans)
    found = reactions(looks, above=spec.targets[0].value, least=spec.least, ended_s=load.duration_s)
    start_s = (found.first_s or 0.0) - (found.decided_s or 0.0)
    return ServiceModel(used / load.achieved_rps, request_cores, max(0.0, start_s))


def _stages(load: LoadRecord) -> tuple[Stage, Stage]:
    return Stage(0.0, load.achieved_rps), Stage(load.duration_s, 0.0)


def _predicted(prediction: Prediction | None, model: ServiceModel | None) -> dict[str, Any]:
    if prediction is None or model is None:
        return {}
    return {
        "predicted": ReactionTimes(**asdict(prediction.reactions)),
        "predicted_looks": [ScalingLook(**asdict(look)) for look in prediction.looks],
        "cpu_ms_per_request": model.cpu_s_per_request * 1000,
        "start_s": model.start_s,
    }
