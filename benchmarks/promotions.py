"""Fifty promotions in a minute under a thousand requests a second: what becomes of every request."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from harness.backends.embedded.session import Session
from harness.lifecycle.dataset import high_utiliser
from harness.model_version import ModelVersion
from harness.platform import Platform
from harness.run import Run
from harness.service import Service

RPS = 1000
SECONDS = 60
PROMOTIONS = 50


def measure(folder: Path) -> Iterator[tuple[str, str, str, list[float]]]:
    """Each promotion starts a revision, gives it half of the traffic, then all of it; the other one is retired."""
    run = Run(folder / "promotions", title="benchmark", backend="embedded")
    with (
        Session(folder / "session") as session,
        run,
        Platform(session.backend(run.folder, run.events), run) as platform,
    ):
        models = [platform.train(high_utiliser(), max_depth=depth) for depth in (2, 4)]
        service = platform.deploy(models[0])
        with platform.load(service, rps=RPS) as load:
            took = [_promote(service, models, number) for number in range(PROMOTIONS)]
    ledger = load.ledger
    answered = sum(count for name, count in ledger.classes.items() if name.startswith("answered:"))
    yield f"{PROMOTIONS} promotions under load: each", "s", "", took
    yield "requests a second that left the generator", "/s", f"{RPS}", [ledger.achieved_rps]
    yield f"unexplained of {ledger.sent} requests", "", "0", [float(ledger.unexplained)]
    yield f"without an answer of a revision, of {ledger.sent}", "", "", [float(ledger.sent - answered)]
    yield "failed answers of revisions", "", "0", [float(sum(each.failed for each in ledger.latency if each.p50_ms))]


def _promote(service: Service, models: list[ModelVersion], number: int) -> float:
    began = time.monotonic()
    name = f"r{number}"
    service.apply(service.document.with_canary(name, models[number % 2].uri, 50))
    service.apply(service.document.promoted(name))
    took = time.monotonic() - began
    time.sleep(max(0.0, SECONDS / PROMOTIONS - took))
    return took
