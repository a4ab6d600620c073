"""How long the kind world takes from nothing, with its images built: cluster, parts, first answer, a canary."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

from harness import SLO, Outcome
from harness.backends.backend import Part
from harness.backends.kubernetes.world import WorldOptions
from harness.backends.session import ClusterSession
from harness.lifecycle.dataset import high_utiliser
from harness.platform import Platform
from harness.run import Run
from harness.runtime.clock import Deadline

NEXT = 3
REQUESTS = 5000
_RPS = 200
MARGIN_S = 2.0
"""A load takes a moment to begin."""
_PARTS = (Part.TRACKING, Part.SERVING, Part.METRICS, Part.AUTOSCALING)


def measure(folder: Path) -> Iterator[tuple[str, str, str, list[float]]]:
    """One cluster: all parts at once, a model trained and served in it, more platforms, and a canary under load."""
    at, began = time.time(), time.monotonic()
    with ClusterSession(folder / "session", WorldOptions(backend="kind")) as session:
        assert session.world is not None
        yield "kind: cluster ready", "s", "<= 20", [time.monotonic() - began]
        with _platform(session, folder / "first") as platform:
            platform.start(*_PARTS, deadline=Deadline.after(600))
            whole = time.monotonic() - began
            model = platform.train(high_utiliser(), max_depth=4)
            platform.deploy(model).predict([[0.0] * len(model.features)])
            yield "kind: KServe ready", "s", "<= 50", [_ready_at(folder / "session", "kserve") - at]
            yield "kind: whole platform ready", "s", "<= 100", [whole]
            yield "kind: first answer, training included", "s", "<= 75", [time.monotonic() - began]
        yield (
            "kind: platform in a fresh namespace pair",
            "s",
            "<= 5",
            [_next(session, folder / f"next-{number}", served=True) for number in range(NEXT)],
        )
        yield (
            "kind: the same, one right after the other, with nothing between",
            "s",
            "<= 5",
            [_next(session, folder / f"at-once-{number}", served=False) for number in range(NEXT)],
        )
        yield (
            f"kind: canary with {REQUESTS:,} requests and its ledger",
            "s",
            "<= 180",
            [_canary(session, folder / "canary")],
        )


def _platform(session: ClusterSession, folder: Path) -> Platform:
    run = Run(folder, title="benchmark", backend="kind")
    return Platform(session.backend(folder, run.events), run)


def _ready_at(folder: Path, component: str) -> float:
    lines = (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    told = [json.loads(line) for line in lines]
    return float(next(event["at"] for event in told if event["subject"] == component))


def _next(session: ClusterSession, folder: Path, *, served: bool) -> float:
    """Seconds of the start only; then, if `served`, the shortest scenario that serves a model."""
    began = time.monotonic()
    with _platform(session, folder) as platform:
        platform.start(Part.TRACKING, Part.SERVING)
        platform.backend.namespace("production")
        platform.backend.namespace("staging")
        started = time.monotonic() - began
        if served:
            platform.deploy(platform.train(high_utiliser(), max_depth=2))
        return started


def _canary(session: ClusterSession, folder: Path) -> float:
    """Seconds of the scenario: two versions trained, one served, the other promoted under load, all accounted for."""
    began = time.monotonic()
    with _platform(session, folder) as platform:
        v1, v2 = (platform.train(high_utiliser(), max_depth=depth) for depth in (2, 6))
        service = platform.deploy(v1)
        with platform.load(service, rps=_RPS) as traffic:
            flows = Deadline.after(REQUESTS / _RPS + MARGIN_S)
            rollout = service.canary(v2, slo=SLO(errors=0.02, slower_than_ms=250, slow=0.2))
            flows.clock.sleep(flows.remaining_s())
        ledger = traffic.ledger
        print(f"  sent {ledger.sent}, lost {ledger.lost}, unexplained {ledger.unexplained}, {rollout.record.split}")
        assert rollout.outcome is Outcome.PROMOTED, rollout.reason
        assert ledger.sent >= REQUESTS
        assert (ledger.lost, ledger.unexplained) == (0, 0)
        return time.monotonic() - began
