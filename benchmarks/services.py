"""Many services at once: what each further InferenceService costs, in time and memory, and whether all of them answer.

From 1 to 50 services of two replicas each on one platform; every one is asked at the end. `python -m
benchmarks.services` draws the plot in docs/images.
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
from harness.model_version import ModelVersion
from harness.platform import Platform
from harness.run import Run
from harness.runtime.memory import tree_mb
from harness.service import inference_service

SERVICES = 50
REPLICAS = 2
ROUNDS = 40
PLOT = Path("docs/images/services.svg")


@dataclass(frozen=True)
class Step:
    """With `services` of them: seconds until the last one was ready, memory of everything (PSS, MB), of which Envoy."""

    services: int
    ready_s: float
    memory_mb: float
    idle_cores: float


def measure(folder: Path) -> Iterator[tuple[str, str, str, list[float]]]:
    """The marginal cost of a service at the begin and at the end, and the whole at its largest."""
    steps, failed, spread_ms = grow(folder)
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
        [steps[-1].memory_mb],
    )
    yield f"cores used by {SERVICES} idle services", "", "", [steps[-1].idle_cores]
    yield f"answers of {SERVICES} services, asked in turn", "ms", "", spread_ms
    yield "failed answers", "", "0", [float(failed)]


def grow(folder: Path) -> tuple[list[Step], int, list[float]]:
    """Add services one after the other; then ask each of them. Steps, failed answers, latencies in ms."""
    run = Run(folder / "services", title="benchmark", backend="embedded")
    with (
        Session(folder / "session") as session,
        run,
        Platform(session.backend(run.folder, run.events), run) as platform,
    ):
        model = platform.train(high_utiliser(), max_depth=2)
        steps = [_add(platform, model, number) for number in range(1, SERVICES + 1)]
        (row,) = platform.sample(model, [{"name": "one", "rows": 1}])["one"]["rows"]
        took = [_asked(platform, number, row) for number in range(1, SERVICES + 1) for _ in range(ROUNDS // 10)]
    return steps, sum(each is None for each in took), [1000 * each for each in took if each is not None]


def _add(platform: Platform, model: ModelVersion, number: int) -> Step:
    began = time.monotonic()
    document = inference_service(model, name=f"s{number}", namespace="production", replicas=REPLICAS)
    platform.apply(document, model=model)
    took = time.monotonic() - began
    idle = _idle_cores() if number in (1, SERVICES) else 0.0
    return Step(number, took, tree_mb(), idle)


def _idle_cores(seconds: float = 5.0) -> float:
    """Cores that the whole tree uses while nobody asks anything."""
    me = psutil.Process()
    tree = [me, *me.children(recursive=True)]
    before = _used(tree)
    time.sleep(seconds)
    return (_used(tree) - before) / seconds


def _used(tree: list[psutil.Process]) -> float:
    return sum(times.user + times.system for times in (process.cpu_times() for process in tree))


def _asked(platform: Platform, number: int, row: list[float]) -> float | None:
    name = f"s{number}"
    host = f"{name}-production.example.com"
    with InferenceClient(platform.backend.gateway_url, model=name, host=host) as client:
        began = time.monotonic()
        answer = client.predict([row])
        return time.monotonic() - began if len(answer) == 1 else None


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
        steps, failed, _ = grow(Path(folder))
    for step in steps:
        print(f"{step.services:>3} {step.ready_s:7.3f} s {step.memory_mb:8.0f} MB {step.idle_cores:6.2f} cores")
    plot(steps, PLOT)
    print(f"{failed} failed; drawn: {PLOT}", file=sys.stderr)


if __name__ == "__main__":
    main()
