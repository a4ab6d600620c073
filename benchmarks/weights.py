"""Changing a canary's weight under load: how soon it is in effect, and what it costs in requests."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from harness.backends.embedded.session import Session
from harness.lifecycle.dataset import high_utiliser
from harness.platform import Platform
from harness.run import Run
from harness.service import Service

REQUESTS = 50_000
RPS = 500
CHANGES = 40
CANARY = "canary"


def measure(folder: Path) -> Iterator[tuple[str, str, str, list[float]]]:
    """Apply changed weights until 50,000 requests have passed; an apply returns when the route is in effect."""
    run = Run(folder / "weights", title="benchmark", backend="embedded")
    with (
        Session(folder / "session") as session,
        run,
        Platform(session.backend(run.folder, run.events), run) as platform,
    ):
        models = [platform.train(high_utiliser(), max_depth=depth) for depth in (2, 4)]
        service = platform.deploy(models[0])
        service.apply(service.document.with_canary(CANARY, models[1].uri, 50))
        with platform.load(service, rps=RPS) as load:
            samples = _change(service)
    ledger = load.ledger
    bad = ledger.lost + sum(latency.failed for latency in ledger.latency)
    yield "weight change in effect (apply returns)", "ms", "<= 10", samples
    yield (
        f"failed or lost of {ledger.sent} requests during {len(samples)} changes",
        "",
        "0",
        [float(bad)],
    )


def _change(service: Service) -> list[float]:
    samples = []
    pause = REQUESTS / RPS / CHANGES
    for number in range(CHANGES):
        changed = service.document.with_traffic(CANARY, (number * 37) % 101)
        began = time.monotonic()
        service.apply(changed)
        took = time.monotonic() - began
        samples.append(took * 1000)
        time.sleep(max(0.0, pause - took))
    return samples
