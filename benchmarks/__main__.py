"""`python -m benchmarks [NAME …]`: run the benchmarks, print each figure's median, least and most beside its target."""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import (
    containers,
    generator,
    images,
    kind,
    loop,
    main_job,
    predictions,
    promotions,
    readiness,
    rollback,
    services,
    simulation,
    suite,
    weights,
)


@dataclass(frozen=True)
class Figure:
    """One measured quantity: its samples, its unit, and what the project wants of it."""

    name: str
    unit: str
    target: str
    samples: list[float]

    def __str__(self) -> str:
        middle, least, most = statistics.median(self.samples), min(self.samples), max(self.samples)
        spread = f"{least:.3g} .. {most:.3g}"
        return (
            f"{self.name:<58} {middle:>9.3g} {self.unit:<4} {spread:<18} n={len(self.samples):<3} target {self.target}"
        )


Benchmark = Callable[[Path], Iterator[tuple[str, str, str, list[float]]]]
BENCHMARKS: dict[str, Benchmark] = {
    "readiness": readiness.measure,
    "weights": weights.measure,
    "generator": generator.measure,
    "promotions": promotions.measure,
    "rollback": rollback.measure,
    "simulation": simulation.measure,
    "predictions": predictions.measure,
    "loop": loop.measure,
    "main-job": main_job.measure,
    "suite": suite.measure,
    "services": services.measure,
    "images": images.measure,
    "images-cold": images.measure_cold,
    "containers": containers.measure,
    "kind": kind.measure,
}
ON_REQUEST = ("images", "images-cold", "containers", "kind")
"""These need Docker; the images compile for many minutes the first time."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "names", nargs="*", choices=[[], *BENCHMARKS], help=f"which (default: all but {', '.join(ON_REQUEST)})"
    )
    names = parser.parse_args().names or [name for name in BENCHMARKS if name not in ON_REQUEST]
    print(f"{'figure':<58} {'median':>9} {'':4} {'least .. most':<18}")
    for name in names:
        with tempfile.TemporaryDirectory(prefix="rehearsal-bench-") as folder:
            for figure in BENCHMARKS[name](Path(folder)):
                print(Figure(*figure))
                sys.stdout.flush()


if __name__ == "__main__":
    main()
