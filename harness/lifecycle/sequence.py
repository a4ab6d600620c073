"""The training pipeline's steps one after the other in one process, for what has no pipeline back end: a TrainJob.

The names of tasks and outputs are those of kfp_pipeline, so that what is left is read the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.lifecycle import steps

Metadata = dict[str, Any]


@dataclass
class Sequence:
    """One run of the steps with a pipeline's arguments (see pipeline.arguments); files go to folder/<task>/<output>."""

    values: Mapping[str, Any]
    folder: Path
    _fingerprint: str = field(default="", init=False)

    def run(self, ended: Callable[[str, dict[str, Metadata]], None]) -> None:
        """Run all steps; `ended` is told each one's outputs: name -> metadata. Errors: those of the steps."""
        for name, step in self.steps().items():
            (self.folder / name).mkdir(parents=True, exist_ok=True)
            ended(name, step())

    def steps(self) -> dict[str, Callable[[], dict[str, Metadata]]]:
        """The steps by name, in the order of the pipeline."""
        return {
            "ingest": self._ingest,
            "validate": self._validate,
            "features": self._features,
            "search": self._search,
            "train": self._train,
            "evaluate": self._evaluate,
            "register": self._register,
        }

    def path(self, task: str, output: str) -> str:
        return str(self.folder / task / output)

    def _ingest(self) -> dict[str, Metadata]:
        made = steps.ingest(self._dataset, self.values["source_digest"], self.path("ingest", "rows"))
        self._fingerprint = made["fingerprint"]
        return {"rows": dict(made)}

    def _validate(self) -> dict[str, Metadata]:
        outputs = [self.path("validate", name) for name in ("valid", "quarantined", "report")]
        detail = steps.validate(self._dataset, self.path("ingest", "rows"), *outputs)
        return {"valid": {}, "quarantined": {}, "report": {"detail": detail}}

    def _features(self) -> dict[str, Metadata]:
        inputs = [self.path("validate", name) for name in ("valid", "report")]
        outputs = [self.path("features", name) for name in ("train_rows", "heldout", "transformer")]
        detail = steps.engineer(self._dataset, self.values["seed"], *inputs, *outputs)
        return {"train_rows": {}, "heldout": {}, "transformer": {"detail": detail}}

    def _search(self) -> dict[str, Metadata]:
        train_rows, transformer = self.path("features", "train_rows"), self.path("features", "transformer")
        asked = (self._dataset, self.values["training"], self.values["tracking"], self._fingerprint)
        return {"best": {"detail": steps.search(*asked, train_rows, transformer, self.path("search", "best"))}}

    def _train(self) -> dict[str, Metadata]:
        train_rows, transformer = self.path("features", "train_rows"), self.path("features", "transformer")
        asked = (self._dataset, self.values["training"], self.values["tracking"])
        best, model = self.path("search", "best"), self.path("train", "model")
        return {"model": {"detail": steps.train(*asked, train_rows, transformer, best, model)}}

    def _evaluate(self) -> dict[str, Metadata]:
        inputs = [self.path("features", "heldout"), self.path("search", "best"), self.path("train", "model")]
        outputs = [self.path("evaluate", name) for name in ("report", "scored")]
        detail = steps.evaluate(self._dataset, self.values["tracking"], *inputs, *outputs)
        return {"report": {"detail": detail}, "scored": {}}

    def _register(self) -> dict[str, Metadata]:
        asked = (self._dataset, self.values["training"], self.values["tracking"], self._fingerprint)
        best, model = self.path("search", "best"), self.path("train", "model")
        heldout, version = self.path("features", "heldout"), self.path("register", "version")
        return {"version": {"detail": steps.register(*asked, best, model, heldout, version)}}

    @property
    def _dataset(self) -> str:
        return str(self.values["dataset"])
