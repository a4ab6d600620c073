"""A canary that fails a fifth of its requests: how soon it gets none, and how many users met it, by two rules.

Ours is the verdict of a rollout. The other is what the field often has: the rate of errors over the last minute, looked
at every second once the minute is full, rolls back above the SLO's bound.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.backends.document import parse
from harness.backends.embedded.session import Session
from harness.chaos.harm import harmed
from harness.chaos.models import saved_models
from harness.lifecycle.driver import ServingPort, drive
from harness.lifecycle.rollout import Canary, Outcome
from harness.lifecycle.slo import SLO
from harness.platform import Platform
from harness.report.record import RevisionCounts, RolloutRecord
from harness.run import Run
from harness.runtime.clock import Clock
from harness.runtime.events import Event
from harness.service import Driver

RPS = 400.0
SHARE = 0.2
SAMPLES = 5
MINUTE_S = 60.0
POLICY = Canary(SLO(errors=0.01, slower_than_ms=250, slow=0.2), steps=(10, 50, 100))


@dataclass(frozen=True)
class Cost:
    """From the first bad answer of the canary until it got no more requests, and how many of them were bad."""

    reaction_s: float
    harmed: int


def measure(folder: Path) -> Iterator[tuple[str, str, str, list[float]]]:
    """Several rollouts by our verdict, and one by the minute's rate, which takes a minute."""
    with Session(folder / "session") as session:
        ours = [_cost(session, folder / f"verdict-{number}", drive) for number in range(SAMPLES)]
        yield "rollback by our verdict: first bad answer to 0 %", "s", "<= 2", [cost.reaction_s for cost in ours]
        yield "rollback by our verdict: requests harmed", "", "<= 30", [float(cost.harmed) for cost in ours]
        rate = _cost(session, folder / "rate", minute_rate)
        yield "rollback by a 1-minute rate: first bad answer to 0 %", "s", "", [rate.reaction_s]
        yield "rollback by a 1-minute rate: requests harmed", "", "", [float(rate.harmed)]


def _cost(session: Session, folder: Path, rule: Driver) -> Cost:
    run = Run(folder, title="rollback", backend="embedded")
    routed: list[Event] = []
    run.events.listen(lambda event: routed.append(event) if event.kind == "service.routed" else None)
    with run, Platform(session.backend(folder, run.events), run) as platform:
        models = saved_models(platform, session.folder / "models")
        served = {"modelFormat": {"name": "mlflow"}, "storageUri": models.baseline.uri}
        service = platform.apply(
            parse(
                {
                    "apiVersion": "serving.kserve.io/v1beta1",
                    "kind": "InferenceService",
                    "metadata": {"name": models.baseline.name, "namespace": "production"},
                    "spec": {"predictor": {"name": "v1", "model": served}},
                }
            )
        )
        platform.backend.faults.inject("production", service.name, "v2", {"errors": SHARE})
        with platform.load(service, rps=RPS, payload=models.requests) as load:
            service.roll_out(models.canary, POLICY, driver=rule)
    bad = [request for request in harmed(load.ledger) if request.revision == "v2"]
    gone = next(event.at for event in reversed(routed) if event.data["weights"].get("v2", 0) == 0)
    return Cost(gone - min(request.ended_at for request in bad), len(bad))


def minute_rate(policy: Canary, port: ServingPort, clock: Clock, *_: object, **__: object) -> RolloutRecord:
    """The other rule, in the place of harness.lifecycle.driver.drive."""
    began = clock.now()
    port.start_canary()
    port.set_weight(policy.steps[0])
    window: deque[tuple[int, int]] = deque(maxlen=int(MINUTE_S) + 1)
    requests = failed = 0
    while len(window) <= MINUTE_S or failed <= policy.slo.errors * requests:
        window.append(_canary(port))
        requests, failed = (last - first for last, first in zip(window[-1], window[0], strict=True))
        clock.sleep(1.0)
    port.roll_back()
    return RolloutRecord(
        service=port.service,
        policy="1-minute rate",
        baseline=port.baseline,
        canary=port.canary,
        outcome=Outcome.ROLLED_BACK,
        reason=f"{failed} of {requests} requests failed within a minute",
        steps=[],
        duration_s=clock.now() - began,
    )


def _canary(port: ServingPort) -> tuple[int, int]:
    found: list[RevisionCounts] = [counts for counts in port.counts() if counts.revision == port.canary]
    return (found[0].requests, found[0].failed) if found else (0, 0)
