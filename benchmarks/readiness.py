"""How long until something is ready: a platform, the next platform, a replica."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from harness.backends.backend import Part
from harness.backends.embedded.session import Session
from harness.lifecycle.dataset import high_utiliser
from harness.platform import Platform
from harness.run import Run

NEXT = 5
REPLICAS = 10


def measure(folder: Path) -> Iterator[tuple[str, str, str, list[float]]]:
    """The first and the next platforms of a session, and replicas of one service."""
    began = time.monotonic()
    with Session(folder / "session") as session:
        first = [_ready(session, folder / "first", began)]
        later = [_ready(session, folder / f"next-{number}", time.monotonic()) for number in range(NEXT)]
        yield "platform for register and deploy, first of a session", "s", "<= 5", first
        yield "platform for register and deploy, next of the session", "s", "<= 1", later
        yield "replica ready, after the nursery is up", "s", "<= 0.3", _replicas(session, folder / "replicas")


def _ready(session: Session, folder: Path, began: float) -> float:
    run = Run(folder, title="benchmark", backend="embedded")
    with run, Platform(session.backend(folder, run.events), run) as platform:
        platform.start(Part.TRACKING, Part.SERVING)
        return time.monotonic() - began


def _replicas(session: Session, folder: Path) -> list[float]:
    run = Run(folder, title="benchmark", backend="embedded")
    samples = []
    with run, Platform(session.backend(folder, run.events), run) as platform:
        model = platform.train(high_utiliser(), max_depth=4)
        for number in range(REPLICAS):
            began = time.monotonic()
            platform.deploy(model, name=f"replica-{number}")
            samples.append(time.monotonic() - began)
    return samples
