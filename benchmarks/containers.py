"""How long the containers world takes, with its images there: a platform from nothing, the next one, a canary."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from harness import SLO, Outcome
from harness.backends.backend import Part
from harness.backends.containers.session import ContainerSession
from harness.backends.kubernetes.world import WorldOptions
from harness.backends.session import open_backend
from harness.lifecycle.dataset import high_utiliser
from harness.platform import Platform
from harness.run import Run
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog

TIMES = 3
_RPS = 100
_PARTS = (Part.TRACKING, Part.SERVING, Part.METRICS)


def measure(folder: Path) -> Iterator[tuple[str, str, str, list[float]]]:
    """Platforms alone, then such that take a kept database server, which is left, as --reuse has it.

    Then a session whose platforms share a server, and a canary in it.
    """
    began, ended = zip(*[_alone(folder / f"alone-{number}") for number in range(TIMES)], strict=True)
    yield "containers: platform ready (tracking, serving, metrics)", "s", "<= 15", list(began)
    yield "containers: and gone again", "s", "<= 5", list(ended)
    _alone(folder / "kept", keep=True)
    began, ended = zip(*[_alone(folder / f"reused-{number}", reuse=True) for number in range(TIMES)], strict=True)
    yield "containers: platform ready with --reuse", "s", "<= 10", list(began)
    yield "containers: and gone again, but for what is kept", "s", "<= 5", list(ended)
    with ContainerSession(folder / "session") as session:
        _next(session, folder / "first")
        found = [_next(session, folder / f"next-{number}") for number in range(TIMES)]
        yield "containers: the next platform of a session", "s", "<= 3", found
        yield (
            "containers: canary with its trainings and its ledger",
            "s",
            "<= 90",
            [_canary(session, folder / "canary")],
        )


def _alone(folder: Path, *, keep: bool = False, reuse: bool = False) -> tuple[float, float]:
    """Seconds until ready, and from there until nothing is left but what is kept."""
    folder.mkdir()
    events = EventLog(folder / "events.jsonl")
    began = time.monotonic()
    with open_backend(WorldOptions(backend="containers", keep=keep, reuse=reuse), folder, events) as backend:
        try:
            backend.start(_PARTS, Deadline.after(120))
            ready = time.monotonic()
        finally:
            backend.close()
    return ready - began, time.monotonic() - ready


def _platform(session: ContainerSession, folder: Path) -> Platform:
    run = Run(folder, title="benchmark", backend="containers")
    return Platform(session.backend(folder, run.events), run, runner="local")


def _next(session: ContainerSession, folder: Path) -> float:
    """Seconds of the start only; then the shortest scenario that serves a model, while the next server gets warm."""
    began = time.monotonic()
    with _platform(session, folder) as platform:
        platform.start(Part.TRACKING, Part.SERVING)
        started = time.monotonic() - began
        platform.deploy(platform.train(high_utiliser(), max_depth=2))
        return started


def _canary(session: ContainerSession, folder: Path) -> float:
    """Seconds of the scenario: two versions trained, one served, the other promoted under load, all accounted for."""
    began = time.monotonic()
    with _platform(session, folder) as platform:
        v1, v2 = (platform.train(high_utiliser(), max_depth=depth) for depth in (2, 6))
        service = platform.deploy(v1)
        with platform.load(service, rps=_RPS) as traffic:
            rollout = service.canary(v2, slo=SLO(errors=0.02, slower_than_ms=250, slow=0.2))
        assert rollout.outcome is Outcome.PROMOTED, rollout.reason
        ledger = traffic.ledger
        print(f"  sent {ledger.sent}, lost {ledger.lost}, unexplained {ledger.unexplained}, {rollout.record.split}")
        return time.monotonic() - began
