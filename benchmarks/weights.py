"""Changing a canary's weight under load: how soon it is in effect, and what it costs in requests."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from pathlib import Path

from harness.backends.embedded.session import Session
from harness.lifecycle.dataset import high_utiliser
from harness.platform import Platform
from harness.run import Run
from harness.service import Service, predictor

REQUESTS = 50_000
RPS = 800
CHANGES = 40


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
        document = copy.deepcopy(service.document)
        document["spec"]["canary"] = [{"predictor": predictor(models[1], replicas=1), "trafficPercent": 50}]
        service.apply(document)
        with platform.load(service, rps=RPS) as load:
            samples = _change(service, document)
    ledger = load.ledger
    bad = ledger.lost + sum(latency.failed for latency in ledger.latency)
    yield "weight change in effect (apply returns)", "ms", "<= 10", samples
    yield (
        f"failed or lost of {ledger.sent} requests during {len(samples)} changes",
        "",
        "0",
        [float(bad)],
    )


def _change(service: Service, document: dict[str, object]) -> list[float]:
    samples = []
    pause = REQUESTS / RPS / CHANGES
    for number in range(CHANGES):
        changed = copy.deepcopy(document)
        changed["spec"]["canary"][0]["trafficPercent"] = (number * 37) % 101  # type: ignore[index]
        began = time.monotonic()
        service.apply(changed)
        took = time.monotonic() - began
        samples.append(took * 1000)
        time.sleep(max(0.0, pause - took))
    return samples
