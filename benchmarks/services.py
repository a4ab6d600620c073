"""Many services at once: what each further InferenceService costs, in time, in memory, and those that are there.

From 1 to 50 services of two replicas each on one platform. The first one gets requests while the others are added, and
every one of these is accounted for; each service is asked at the end. `python -m benchmarks.services` draws the plot in
docs/images.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import psutil

from harness.backends.embedded.session import Session
from harness.clients.inference import InferenceClient
from harness.lifecycle.dataset import high_utiliser
from harness.load import Ledger
from harness.model_version import ModelVersion
from harness.platform import Platform
from harness.run import Run
from harness.runtime.memory import tree_mb
from harness.service import Service, inference_service

SERVICES = 50
REPLICAS = 2
RPS = 20  # of the first service, while the others are added
ROUNDS = 4
PLOT = Path("docs/images/services.svg")


@dataclass(frozen=True)
class Step:
    """With `services` of them: seconds until the last one was ready, memory of everything (PSS, MB)."""

    services: int
    ready_s: float
    memory_mb: float


@dataclass(frozen=True)
class Grown:
    """Each step, under load; then, without it, memory (PSS, MB) and cores of all, and latencies in ms of each asked."""

    steps: list[Step]
    ledger: Ledger
    memory_mb: float
    idle_cores: float
    took_ms: list[float]


def measure(folder: Path) -> Iterator[tuple[str, str, str, list[float]]]:
    """The marginal cost of a service at the begin and at the end, and the whole at its largest."""
    grown = grow(folder)
    steps, ledger = grown.steps, grown.ledger
    first, last = [s.ready_s for s in steps[1:11]], [s.ready_s for s in steps[-10:]]
    yield f"one more service of {REPLICAS} replicas, the 2nd to 11th: ready", "s", "", first
    yield f"one more service, the {SERVICES - 9}th to {SERVICES}th: ready", "s", "", last
    yield (
        "cost of the last ten over that of the first ten",
        "",
        "<= 1.5",
        [statistics.median(last) / statistics.median(first)],
    )
    growth = [after.memory_mb - before.memory_mb for before, after in pairwise(steps)]
    yield "memory of one more service (PSS)", "MB", "", growth
    yield (
        f"memory with {SERVICES} services, {SERVICES * REPLICAS} replicas (PSS)",
        "MB",
        "<= 4000",
        [grown.memory_mb],
    )
    yield f"cores used by {SERVICES} idle services", "", "", [grown.idle_cores]
    yield f"answers of {SERVICES} services, asked in turn", "ms", "", grown.took_ms
    bad = ledger.overall.failed  # the lost are among them
    yield f"failed or lost of {ledger.sent} requests while services were added", "", "0", [float(bad)]


def grow(folder: Path) -> Grown:
    """Add services one after the other, under load on the first; then ask each of them."""
    run = Run(folder / "services", title="benchmark", backend="embedded")
    with (
        Session(folder / "session") as session,
        run,
        Platform(session.backend(run.folder, run.events), run) as platform,
    ):
        model = platform.train(high_utiliser(), max_depth=2)
        service, ready_s = _added(platform, model, 1)
        with platform.load(service, rps=RPS, max_s=3600) as load:
            steps = [Step(1, ready_s, tree_mb())]
            for number in range(2, SERVICES + 1):
                _, ready_s = _added(platform, model, number)
                steps.append(Step(number, ready_s, tree_mb()))
        memory_mb, idle_cores = tree_mb(), _idle_cores()
        (row,) = platform.sample(model, [{"name": "one", "rows": 1}])["one"]["rows"]
        took_ms = [_asked_ms(platform, number, row) for number in range(1, SERVICES + 1) for _ in range(ROUNDS)]
    return Grown(steps, load.ledger, memory_mb, idle_cores, took_ms)


def _added(platform: Platform, model: ModelVersion, number: int) -> tuple[Service, float]:
    """One more service, and the seconds until it was ready."""
    began = time.monotonic()
    document = inference_service(model, name=f"s{number}", namespace="production", replicas=REPLICAS)
    service = platform.apply(document, model=model)
    return service, time.monotonic() - began


def _idle_cores(seconds: float = 5.0) -> float:
    """Cores that the whole tree uses while nobody asks anything."""
    me = psutil.Process()
    tree = [me, *me.children(recursive=True)]
    before = _used(tree)
    time.sleep(seconds)
    return (_used(tree) - before) / seconds


def _used(tree: list[psutil.Process]) -> float:
    return sum(times.user + times.system for times in (process.cpu_times() for process in tree))


def _asked_ms(platform: Platform, number: int, row: list[float]) -> float:
    name = f"s{number}"
    host = f"{name}-production.example.com"
    with InferenceClient(platform.backend.gateway_url, model=name, host=host) as client:
        began = time.monotonic()
        client.predict([row])
        return 1000 * (time.monotonic() - began)


def plot(steps: list[Step], path: Path) -> None:
    """Draw time and memory over the number of services."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "services"
    figure, (time_axis, memory_axis) = plt.subplots(1, 2, figsize=(8.4, 3.2), layout="constrained")
    counts = [step.services for step in steps]
    time_axis.plot(counts, [step.ready_s for step in steps], ".", color="#2563a8")
    time_axis.set(xlabel="services on the platform", ylabel="s until one more is ready", ylim=(0, None))
    memory_axis.plot(counts, [step.memory_mb / 1000 for step in steps], "-", color="#2563a8")
    memory_axis.set(xlabel="services, two replicas each", ylabel="GB of everything (PSS)", ylim=(0, 4))
    for axis in (time_axis, memory_axis):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", color="#dddddd")
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="rehearsal-bench-") as folder:
        grown = grow(Path(folder))
    for step in grown.steps:
        print(f"{step.services:>3} {step.ready_s:7.3f} s {step.memory_mb:8.0f} MB")
    plot(grown.steps, PLOT)
    print(f"{grown.ledger.classes}; drawn: {PLOT}", file=sys.stderr)


if __name__ == "__main__":
    main()
