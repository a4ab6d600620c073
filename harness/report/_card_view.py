"""What a model card says, put together from the record of a run alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from harness.errors import UsageError
from harness.report.record import (
    CardRecord,
    CheckResult,
    GateRecord,
    ModelVersionRecord,
    PipelineRun,
    RolloutRecord,
    RunRecord,
)


@dataclass(frozen=True)
class Figure:
    """A metric on held-out rows; `interval` (95 %) where one can be told."""

    name: str
    value: float
    interval: tuple[float, float] | None

    @property
    def of_slice(self) -> bool:
        """A slice is named by its condition, as in auc_sex=f."""
        return any(mark in self.name for mark in "=<>")


@dataclass(frozen=True)
class Card:
    """One version's card: what the record of its run has of it."""

    run: RunRecord
    model: ModelVersionRecord
    words: CardRecord
    pipeline: PipelineRun | None
    gate: GateRecord | None
    results: tuple[CheckResult, ...]

    @property
    def title(self) -> str:
        return f"{self.model.name}, version {self.model.version}"

    @property
    def metrics(self) -> list[Figure]:
        """Those of all held-out rows."""
        return [figure for figure in self._figures() if not figure.of_slice]

    @property
    def slices(self) -> list[Figure]:
        """Those of the slices that the data set declares."""
        return [figure for figure in self._figures() if figure.of_slice]

    def _figures(self) -> Iterator[Figure]:
        for name, value in self.model.metrics.items():
            yield Figure(name, value, self.model.intervals.get(name))

    @property
    def data(self) -> list[tuple[str, Any]]:
        """What it was trained on: (what, value)."""
        told = self.model.data
        known = [(words, told[key]) for key, words in _DATA.items() if told.get(key) not in (None, "", [])]
        if self.pipeline is not None:
            known += [("rows", self.pipeline.rows), ("rows quarantined as broken", self.pipeline.quarantined_rows)]
        return [*known, ("features", self.model.features)]

    @property
    def lineage(self) -> list[tuple[str, Any]]:
        """Where it came from."""
        told: list[tuple[str, Any]] = [
            ("code", self.model.code_version),
            ("data (sha256)", self.model.data_fingerprint),
            ("run of Rehearsal", f"{self.run.run_id}: {self.run.command}"),
            ("MLflow run", self.model.run_id),
        ]
        if self.pipeline is not None:
            told.append(("pipeline run", f"{self.pipeline.name} ({self.pipeline.compiled}), by {self.pipeline.runner}"))
            told.append(("its steps", ", ".join(f"{task.name} {task.status.value}" for task in self.pipeline.tasks)))
        versions = self.run.versions
        return [*told, ("programs", [f"{name} {versions[name]}" for name in _PROGRAMS if name in versions])]

    @property
    def params(self) -> list[tuple[str, Any]]:
        """How it was trained."""
        return [("estimator", self.model.estimator), *self.model.params.items()]

    @property
    def rollouts(self) -> list[RolloutRecord]:
        return [each for each in self.run.rollouts if each.canary == f"v{self.model.version}"]

    @property
    def limitations(self) -> list[str]:
        """What people said, and what the record shows by itself."""
        found = list(self.words.limitations)
        found += [f"The check “{each.name}” failed: {each.observed}." for each in self.results if each.passed is False]
        found += [
            f"The check “{each.name}” could not be judged: {each.detail or each.observed}."
            for each in self.results
            if each.passed is None
        ]
        if self.gate is not None and not self.gate.passed:
            found.append("The promotion gate refused it.")
        elif self.gate is None:
            found.append("It was not held against the promotion gate in this run.")
        if not self.results:
            found.append("No behavioural check was made in this run.")
        return found


_PROGRAMS = ("python", "scikit-learn", "mlflow", "kfp", "kserve")
_DATA = {
    "name": "data set",
    "source": "source",
    "licence": "licence",
    "target": "target",
    "threshold": "positive from",
    "positive": "positive class",
    "task": "task",
    "heldout_rows": "rows held out",
}


def card_of(run: RunRecord, name: str | None = None, version: int | None = None) -> Card:
    """The card of a version of a run: of the champion, else of the last one, unless one is named.

    Errors: UsageError if the run has no such version.
    """
    model = _chosen(run, name, version)
    mine = (model.name, model.version)
    words = [each for each in run.cards if (each.model, each.version) == mine]
    gates = [each for each in run.gates if (each.model, each.candidate) == mine]
    return Card(
        run=run,
        model=model,
        words=words[-1] if words else CardRecord(model=model.name, version=model.version),
        pipeline=next((each for each in run.pipelines if each.name == model.pipeline), None),
        gate=gates[-1] if gates else None,
        results=tuple(_results(run, mine)),
    )


def _chosen(run: RunRecord, name: str | None, version: int | None) -> ModelVersionRecord:
    known = [model for model in run.models if name in (None, model.name) and version in (None, model.version)]
    if not known:
        there = ", ".join(f"{model.name} {model.version}" for model in run.models) or "none"
        asked = " ".join(str(each) for each in (name or "version", version) if each is not None)
        raise UsageError(f"card: run {run.run_id} has no {asked}; its versions: {there}")
    return next((model for model in reversed(known) if "champion" in model.aliases), known[-1])


def _results(run: RunRecord, model: tuple[str, int]) -> list[CheckResult]:
    """Each check once: the last time that it was judged, else the last time that it was not."""
    found: dict[str, CheckResult] = {}
    for record in run.checks:
        if (record.model, record.version) == model:
            for result in record.results:
                if result.passed is not None or result.name not in found or found[result.name].passed is None:
                    found[result.name] = result
    return list(found.values())


def interval(figure: Figure) -> str:
    """A figure's interval in words, "" where there is none."""
    if figure.interval is None or not all(math.isfinite(end) for end in figure.interval):
        return ""
    return f"{figure.interval[0]:.3f} to {figure.interval[1]:.3f}"
