"""Traffic whose world changes: the same people, but some columns are coded the other way round from a moment on.

A partner's new intake form that counts from the other end does this: every value is a valid one, nothing fails, and the
model's answers are wrong. What is true of each person stays the same, so a model that is trained anew finds it again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness._prediction_log import PredictionLog
from harness._traffic import write_bodies
from harness.errors import DataError
from harness.lifecycle import quality
from harness.lifecycle.sampling import rows_of
from harness.load import Load
from harness.loop.truth import TruthFeed
from harness.report.record import MetricRecord
from harness.runtime.job import answer

if TYPE_CHECKING:
    from harness.model_version import ModelVersion
    from harness.platform import Platform
    from harness.service import Service

RAND_REVERSED = ("log_deductible_cap", "physical_limit", "chronic_diseases")
"""Coded the other way round, they take a tree's AUC on the RAND data from 0.66 to 0.40."""
SMALL_DATA = {
    "estimator": "gradient-boosting",
    "params": {"max_iter": 40, "learning_rate": 0.1, "max_leaf_nodes": 6, "min_samples_leaf": 40},
}
"""How to train on the first few thousand rows of a changed world: a larger model is sure of what it guesses."""
KEPT = 0.2
"""The share of the held-out rows that no request carries: quality is shown on them."""

World = Literal["usual", "shifted"]


@dataclass(frozen=True)
class ShiftingTraffic:
    """Held-out rows of a model as requests, as they are and shifted, with what is true of each, and rows kept back."""

    platform: Platform
    bodies: Mapping[World, Path]
    truth: Sequence[float]
    kept: Mapping[World, Sequence[Sequence[Any]]]
    kept_truth: Sequence[float]

    @classmethod
    def of(cls, platform: Platform, model: ModelVersion, *, reverse: Sequence[str] = RAND_REVERSED) -> ShiftingTraffic:
        """From the held-out rows of a version. Errors: DataError for a column that it has not, or of text."""
        spec = {
            "heldout": model.result.heldout,
            "features": model.features,
            "target": model.result.target,
            "reverse": list(reverse),
            "seed": platform.seed,
        }
        found = platform.job("harness.loop.shifted:main", spec, name="shifted-traffic")
        bodies: dict[World, Path] = {}
        for world in ("usual", "shifted"):
            bodies[world] = platform.run.new_file(f"{world}.jsonl")
            write_bodies(bodies[world], found["sent"][world], model.features, "v1")
        return cls(platform, bodies, found["truth"], found["kept"], found["kept_truth"])

    @contextmanager
    def load(
        self, service: Service, log: PredictionLog, world: World, *, rps: float, lag_s: float = 1.0
    ) -> Iterator[Load]:
        """Offer one of the two worlds as a load while the block lasts; labels follow after `lag_s`."""
        with (
            self.platform.load(service, rps=rps, payload=self.bodies[world]) as load,
            TruthFeed(log, load, self.truth, lag_s=lag_s),
        ):
            yield load

    def quality(self, service: Service, world: World) -> MetricRecord:
        """How good the service's answers are now, on the rows that no request carried."""
        import numpy as np

        predicted = np.array(service.predict(self.kept[world]))
        return quality.metrics(np.array(self.kept_truth), predicted)[0]


def main(spec_json: str, result_path: str) -> None:
    """Job: {"heldout": parquet, "features", "target", "reverse": columns, "seed"} ->
    {"sent": {world: rows}, "truth": [...], "kept": {world: rows}, "kept_truth": [...]}.
    """
    answer(result_path, lambda: draw(json.loads(spec_json)))


def draw(spec: dict[str, Any]) -> dict[str, Any]:
    """What `main` answers to a spec."""
    import pandas as pd

    frame = pd.read_parquet(spec["heldout"]).sample(frac=1.0, random_state=spec["seed"])
    features = spec["features"]
    worlds = {"usual": frame[features], "shifted": _reversed(frame[features], spec["reverse"])}
    kept = int(len(frame) * KEPT)
    truth = frame[spec["target"]].astype(float).tolist()
    rows = {world: rows_of(table, features) for world, table in worlds.items()}
    return {
        "sent": {world: table[kept:] for world, table in rows.items()},
        "truth": truth[kept:],
        "kept": {world: table[:kept] for world, table in rows.items()},
        "kept_truth": truth[:kept],
    }


def _reversed(frame: Any, columns: Sequence[str]) -> Any:
    """Each of these columns counts from its other end: its least value becomes its largest."""
    from pandas.api.types import is_numeric_dtype

    for name in columns:
        if name not in frame or not is_numeric_dtype(frame[name]):
            numbers = [each for each in frame if is_numeric_dtype(frame[each])]
            raise DataError(f"reverse: {name!r} is not a column of numbers of the model; allowed: {', '.join(numbers)}")
    return frame.assign(**{name: frame[name].max() + frame[name].min() - frame[name] for name in columns})
