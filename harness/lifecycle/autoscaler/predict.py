"""What the autoscaler will do under a load: `decide` on a virtual clock against a service that costs CPU per request.

The service shares its requests evenly among ready replicas; metrics are means over a window, taken at an interval and
seen a moment later. So 1 -> N -> 1 of many minutes is predicted in milliseconds. A service without a replica has its
first one as soon as there is a request.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.errors import ConfigError
from harness.lifecycle.autoscaler.decision import History, decide, woken
from harness.lifecycle.autoscaler.spec import AutoscalerSpec, Observed, Replica, Sample
from harness.lifecycle.autoscaler.trace import Look, Reactions, reactions
from harness.runtime.clock import Clock, VirtualClock

STEP_S = 0.5


@dataclass(frozen=True)
class Stage:
    """From `at_s` on, `rps` requests a second; the last stage is without load, so that the way back is predicted."""

    at_s: float
    rps: float


@dataclass(frozen=True)
class ServiceModel:
    """What a replica costs and how long it takes: cores and CPU seconds; start_s from asked for to ready.

    `of_service_per_rps`: what one request a second adds to a metric of the whole service; 1 to a rate, and to requests
    in flight their latency in seconds.
    """

    cpu_s_per_request: float
    request_cores: float
    start_s: float
    idle_cores: float = 0.0
    most_cores: float = math.inf
    of_service_per_rps: float = 1.0

    def __post_init__(self) -> None:
        if not (self.cpu_s_per_request >= 0 and self.request_cores > 0 and self.start_s >= 0):
            raise ConfigError("autoscaler: expected a cost and a start of at least 0 and a CPU request above 0")


@dataclass(frozen=True)
class MetricsModel:
    """How the figures come about: a mean over window_s, renewed every every_s, visible lag_s after that."""

    every_s: float = 15.0
    window_s: float = 15.0
    lag_s: float = 0.0


@dataclass(frozen=True)
class Prediction:
    """The looks of the autoscaler, and its reaction times."""

    looks: tuple[Look, ...]
    reactions: Reactions


@dataclass
class _Pod:
    asked_at: float
    ready_at: float
    used: list[float] = field(default_factory=list)  # cores, one figure a step
    sample: Sample | None = None
    fresh: list[tuple[float, Sample]] = field(default_factory=list)  # when it can be seen, what it says


def predict(
    spec: AutoscalerSpec,
    load: Sequence[Stage],
    service: ServiceModel,
    metrics: MetricsModel | None = None,
    *,
    clock: Clock | None = None,
    tail_s: float = 900.0,
) -> Prediction:
    """What happens from the load's begin until the replicas are back at the least, at most `tail_s` after its end."""
    if not load or load[-1].rps or [stage.at_s for stage in load] != sorted(stage.at_s for stage in load):
        raise ConfigError("autoscaler: expected stages of a load in order of time, the last one with a rate of 0")
    world = _World(spec, load, service, metrics or MetricsModel(), clock or VirtualClock())
    ended_s = load[-1].at_s
    while world.now() < ended_s + tail_s and not (world.now() > ended_s and world.at_rest()):
        world.step()
    looks = tuple(world.looks)
    above = spec.targets[0].value * (1 + spec.tolerance)
    return Prediction(looks, reactions(looks, above=above, least=spec.least, ended_s=ended_s))


class _World:
    """The replicas of one service on a clock that starts when the load does; warm figures of the first are there."""

    def __init__(
        self, spec: AutoscalerSpec, load: Sequence[Stage], service: ServiceModel, metrics: MetricsModel, clock: Clock
    ) -> None:
        self.looks: list[Look] = []
        self._spec, self._load, self._service, self._metrics, self._clock = spec, load, service, metrics, clock
        self._began = clock.now()
        warm = -(metrics.window_s + spec.initialisation_s)
        self._pods = [_Pod(warm, warm) for _ in range(spec.least)]
        self._service_used = [0.0] * math.ceil(metrics.window_s / STEP_S)
        self._totals: dict[str, float] = {}
        self._fresh_totals: list[tuple[float, float]] = []
        for pod in self._pods:
            pod.used = [service.idle_cores] * math.ceil(metrics.window_s / STEP_S)
        self._desired = len(self._pods)
        self._history = History()
        self._next_look = self._next_scrape = 0.0

    def now(self) -> float:
        """Seconds since the load began."""
        return self._clock.now() - self._began

    def at_rest(self) -> bool:
        """Whether the replicas are at the least again."""
        return self._desired == len(self._pods) == self._spec.least and bool(self.looks)

    def step(self) -> None:
        """Half a second of the service, then of the metrics, then of the autoscaler."""
        now = self.now()
        self._serve(now)
        if now >= self._next_scrape:
            self._scrape(now)
            self._next_scrape += self._metrics.every_s
        if now >= self._next_look:
            self._look(now)
            self._next_look += self._spec.sync_s
        self._clock.sleep(STEP_S)

    def _serve(self, now: float) -> None:
        rps = next((stage.rps for stage in reversed(self._load) if stage.at_s <= now), 0.0)
        if rps and not self._desired:
            self._history = woken(self._history, now)
            self._scale(1, now)
        self._service_used.append(rps * self._service.of_service_per_rps)
        ready = [pod for pod in self._pods if pod.ready_at <= now]
        busy = rps * self._service.cpu_s_per_request / max(1, len(ready))
        for pod in self._pods:
            pod.used.append(min(self._service.most_cores, self._service.idle_cores + (busy if pod in ready else 0.0)))

    def _scrape(self, now: float) -> None:
        steps = math.ceil(self._metrics.window_s / STEP_S)
        self._fresh_totals.append((now + self._metrics.lag_s, sum(self._service_used[-steps:]) / steps))
        for pod in self._pods:
            if len(pod.used) >= steps:
                sample = Sample(sum(pod.used[-steps:]) / steps, now, self._metrics.window_s)
                pod.fresh.append((now + self._metrics.lag_s, sample))

    def _look(self, now: float) -> None:
        for pod in self._pods:
            seen = [sample for at, sample in pod.fresh if at <= now]
            pod.fresh = [entry for entry in pod.fresh if entry[0] > now]
            pod.sample = seen[-1] if seen else pod.sample
        for total in (value for at, value in self._fresh_totals if at <= now):
            self._totals = {target.metric: total for target in self._spec.targets if target.kind.of_service}
        self._fresh_totals = [entry for entry in self._fresh_totals if entry[0] > now]
        observed = Observed(self._desired, tuple(self._replica(pod, now) for pod in self._pods), self._totals)
        decision = decide(self._spec, observed, self._history, now)
        self._history = decision.history
        self._scale(decision.replicas, now)
        ready = sum(pod.ready_at <= now for pod in self._pods)
        value = decision.proposals[0].value if decision.proposals else None
        self.looks.append(Look(now, value, self._desired, ready))

    def _scale(self, replicas: int, now: float) -> None:
        self._desired = replicas
        self._pods = self._pods[:replicas]
        while len(self._pods) < replicas:
            self._pods.append(_Pod(now, now + self._service.start_s))

    def _replica(self, pod: _Pod, now: float) -> Replica:
        ready = pod.ready_at <= now
        return Replica(
            ready=ready,
            started_at=pod.asked_at,
            ready_changed_at=pod.ready_at if ready else pod.asked_at,
            samples={target.metric: pod.sample for target in self._spec.targets if pod.sample is not None},
            requests={"cpu": self._service.request_cores},
        )
