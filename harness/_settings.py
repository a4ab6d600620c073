"""The models of rehearsal.toml: one section a table, each key with what it may be, its default and what it means."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from harness.lifecycle.checks import Check, load_checks
from harness.lifecycle.rollout import Canary, Policy, load_policy
from harness.lifecycle.slo import SLO
from harness.runtime.paths import data_folder

DEFAULT_CHECKS = "checks/high-utiliser.toml"


@dataclass(frozen=True)
class Expected:
    """In words, what a value may be; shown in errors and in the reference."""

    words: str


Share = Annotated[float, Field(gt=0, lt=1), Expected("a number between 0 and 1")]
Margin = Annotated[float, Field(ge=0, lt=1), Expected("a number from 0 up to, not including, 1")]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), Expected("a number above 0")]
Count = Annotated[int, Field(ge=1, le=10_000), Expected("a whole number from 1 to 10000")]
Text = Annotated[str, Field(min_length=1), Expected("a text in quotes, not empty")]
Name = Annotated[
    str,
    Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$"),
    Expected("1 to 40 of a-z, 0-9 and '-', with a letter or digit at both ends"),
]
EntryPoint = Annotated[
    str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"), Expected('"module:function", such as "my_model:train"')
]
Label = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if type(value) in (int, bool) else value),
    Field(min_length=1),
    Expected('a label of the target, such as "yes" or 1'),
]
Number = Annotated[float, Field(allow_inf_nan=False), Expected("a number")]
Columns = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value),
    Expected('a list of column names, such as ["sex", "region"]'),
]
Texts = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value),
    Expected('a list of sentences, such as ["adults only"]'),
]
Steps = Annotated[
    tuple[Annotated[int, Field(ge=1, le=100)], ...],
    BeforeValidator(lambda value: tuple(value) if isinstance(value, list) else value),
    Field(min_length=1),
    Expected("a rising list of percentages that ends with 100, such as [10, 50, 100]"),
]
FilePath = Annotated[Path, Field(strict=False), Expected("a path in quotes")]
Switch = Annotated[bool, Expected("true or false")]
Namespaces = Annotated[
    dict[
        Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")],
        Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")],
    ],
    Expected('a table such as {production = "team-a", staging = "team-b"}'),
]
Params = Annotated[dict[str, Any], Expected("a table of the function's keyword arguments")]


class Section(BaseModel):
    """One table of rehearsal.toml."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class RunSettings(Section):
    """What the run is called, and where it happens."""

    name: Name = Field(
        "rehearsal", description="name of the run and its folder; with a data file also its model and its service"
    )
    backend: Annotated[
        Literal["embedded", "containers", "kind", "kubernetes"], Expected("embedded, containers, kind or kubernetes")
    ] = Field(
        "embedded",
        description="where the platform runs: as processes or containers here, in a cluster made by kind, in yours",
    )
    reports: FilePath | None = Field(
        None, description="folder of the run folders; REHEARSAL_RUNS or ./reports if unset"
    )
    seed: Annotated[int, Field(ge=0, le=2**31 - 1), Expected("a whole number from 0 to 2147483647")] = Field(
        7, description="seed of the split, the search and the load"
    )


class ClusterSettings(Section):
    """The cluster of the backends kind and kubernetes; `keep` and `reuse` are for containers, too."""

    context: Text | None = Field(
        None, description="context of the kubeconfig; the backend kubernetes uses none that is not named"
    )
    kubeconfig: FilePath | None = Field(None, description="the kubeconfig; KUBECONFIG or ~/.kube/config if unset")
    namespaces: Namespaces = Field({}, description="namespaces to work in; a pair is made for each run if unset")
    install: Switch = Field(False, description="whether what the cluster lacks may be installed, cluster-wide")
    keep: Switch = Field(
        False, description="whether the kind cluster, or the containers' database server, is left running"
    )
    reuse: Switch = Field(False, description="whether the one that was kept is taken, and kept on")
    allow_remote: Switch = Field(False, description="whether load may leave this machine")
    image_prefix: Text | None = Field(
        None, description="the registry, with a path perhaps, that the cluster has our images from"
    )


class NodeSettings(Section):
    """What a world without a cluster has for replicas, and how its autoscaler looks (embedded)."""

    gpus: Annotated[int, Field(ge=0, le=1000), Expected("a whole number from 0 to 1000")] = Field(
        0, description="devices nvidia.com/gpu that the node says it has; they are counted, none is needed"
    )
    cpus: Positive | None = Field(None, description="cores that replicas may request; those of the machine if unset")
    memory: (
        Annotated[
            str,
            Field(pattern=r"^\d+(\.\d+)?(m|k|[KMGTPE]i|[MGTPE])?$"),
            Expected('a quantity in quotes, such as "8Gi"'),
        ]
        | None
    ) = Field(None, description="bytes that replicas may request; those of the machine if unset")
    sync_s: Positive = Field(1.0, description="seconds between two looks of the autoscaler; 15 in Kubernetes")
    window_s: Positive = Field(3.0, description="seconds over which it sees the mean of a metric")
    down_s: Annotated[float, Field(ge=0, le=3600), Expected("a number from 0 to 3600")] = Field(
        10.0, description="seconds for which fewer replicas must have been enough; 300 in Kubernetes"
    )


class DataSettings(Section):
    """The data to rehearse with; the RAND Health Insurance Experiment if no file is named."""

    file: FilePath | None = Field(None, description="a CSV (UTF-8, with a header) or Parquet file")
    target: Text | None = Field(None, description="the column to predict")
    task: Annotated[Literal["classification", "regression"], Expected("classification or regression")] = Field(
        "classification", description="what kind of prediction"
    )
    threshold: Number | None = Field(
        None, description="makes two classes of a numeric target: positive from this value on"
    )
    positive: Label | None = Field(
        None, description="the label of the positive class; the last of the two in sorted order if unset"
    )
    slices: Columns = Field((), description="columns whose groups the gate judges apart (worst slice)")
    ignore: Columns = Field((), description="columns that are not features")
    licence: Text | None = Field(None, description="under which the rows may be used, for the model card")
    drift: Text | None = Field(
        None, description='a condition on the rows that makes the shifted window, such as "age >= 60" (pandas query)'
    )


class TrainSettings(Section):
    """How the models are trained; a tree and a gradient boosting search if no function is named."""

    entry: EntryPoint | None = Field(
        None, description="your `def train(features, target, **params)`, which returns a fitted estimator"
    )
    features: Annotated[Literal["engineered", "raw"], Expected("engineered or raw")] = Field(
        "engineered", description="what your function is given: the transformed columns, or those of the file"
    )
    baseline: Params = Field({}, description="keyword arguments for the first version")
    candidate: Params = Field({}, description="keyword arguments for the second version")
    trials: Count = Field(6, description="trials of the search for the candidate (built-in training only)")
    deadline_s: Positive = Field(120.0, description="seconds that one call of the training function may take")


class PipelineSettings(Section):
    """Where the training pipeline runs; what it leaves is the same."""

    runner: Annotated[
        Literal["auto", "local", "docker", "cluster", "trainer"], Expected("auto, local, docker, cluster or trainer")
    ] = Field(
        "auto",
        description="local: kfp.local, a process for each step; docker: kfp.local, a container for each step; "
        "cluster: a Kubernetes Job for each step; trainer: one TrainJob; auto: docker with the backend containers, "
        "else local",
    )


class SLOSettings(Section):
    """What the served model promises; a canary that breaks it is rolled back."""

    errors: Share = Field(0.02, description="largest share of requests that may fail")
    slower_than_ms: Positive = Field(
        100.0, description="a request that takes longer is slow; one of the bounds of the gateway's histogram"
    )
    slow: Share = Field(0.05, description="largest share of requests that may be slow")


class GateSettings(Section):
    """What the candidate must show before it may be promoted."""

    margin: Margin = Field(0.01, description="how much worse than the champion the metric may plausibly be")
    min_metric: Annotated[float, Field(ge=-1, le=1), Expected("a number from -1 to 1")] = Field(
        0.55, description="the least AUC (regression: R2) on its own"
    )
    max_calibration_error: Share = Field(
        0.05, description="largest expected calibration error, beyond what so few rows show by chance"
    )
    slice_margin: Margin = Field(
        0.10,
        description="how much the worst slice may lose against the champion (without one: against the overall metric)",
    )
    max_latency_ms: Positive = Field(10.0, description="largest p95 of predicting a single row, in milliseconds")


class ChecksSettings(Section):
    """What else the candidate must show (docs/model-checks.md): of the model, as lines of the gate; as served, in
    staging.
    """

    file: FilePath | None = Field(
        None, description="a file of checks; for the built-in data manifests/checks/high-utiliser.toml if unset"
    )


class CardSettings(Section):
    """What only people know of the model, for its card; all else is in the record."""

    intended_use: Text | None = Field(None, description="what the model is for, in a sentence or two")
    not_for: Text | None = Field(None, description="what it must not be used for")
    owner: Text | None = Field(None, description="who answers for it")
    limitations: Texts = Field((), description="what it cannot do, and what is known to be wrong with its data")


class LoadSettings(Section):
    """The traffic of the canary."""

    rps: Annotated[float, Field(gt=0, le=5000), Expected("a number above 0, at most 5000")] = Field(
        400.0, description="requests a second"
    )
    steps: Steps = Field((10, 50, 100), description="percentages of the traffic that the canary gets, in order")
    step_deadline_s: Positive = Field(30.0, description="seconds after which a step without a verdict is rolled back")


class RolloutSettings(Section):
    """How the candidate is released; a canary with the weights of [load] and the promises of [slo] if unset."""

    policy: FilePath | None = Field(
        None, description="a policy file: canary, ab, blue-green or shadow (docs/rollouts.md); it has its own [slo]"
    )


class Settings(Section):
    """All that a run is told, in `file` if there is one; `root` is where relative paths and the module start."""

    file: FilePath | None = None
    root: FilePath = Field(default_factory=Path.cwd)
    run: RunSettings = RunSettings()
    cluster: ClusterSettings = ClusterSettings()
    node: NodeSettings = NodeSettings()
    data: DataSettings = DataSettings()
    train: TrainSettings = TrainSettings()
    pipeline: PipelineSettings = PipelineSettings()
    slo: SLOSettings = SLOSettings()
    gate: GateSettings = GateSettings()
    checks: ChecksSettings = ChecksSettings()
    card: CardSettings = CardSettings()
    load: LoadSettings = LoadSettings()
    rollout: RolloutSettings = RolloutSettings()

    @property
    def uses_default_data(self) -> bool:
        return self.data.file is None

    @cached_property
    def model_checks(self) -> tuple[Check, ...]:
        """The checks of the candidate; raises ConfigError for a file of checks that makes no sense."""
        if self.checks.file is not None:
            return load_checks(self.checks.file)
        return load_checks(data_folder("manifests") / DEFAULT_CHECKS) if self.uses_default_data else ()

    @cached_property
    def policy(self) -> Policy:
        """How the candidate is released; raises ConfigError for a policy file that makes no sense."""
        if self.rollout.policy is not None:
            return load_policy(self.rollout.policy)
        slo = SLO(**self.slo.model_dump())
        return Canary(slo, steps=self.load.steps, max_step_s=self.load.step_deadline_s)


SECTIONS: dict[str, type[Section]] = {
    name: field.annotation
    for name, field in Settings.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
}


def expected_words(section: type[Section], key: str) -> str:
    """What a key may be, in words."""
    words = [note.words for note in _notes(section, key)]
    return words[0]


def _notes(section: type[Section], key: str) -> list[Expected]:
    field = section.model_fields[key]
    found = [note for note in field.metadata if isinstance(note, Expected)]
    for part in getattr(field.annotation, "__args__", ()):  # the Annotated half of `X | None`
        found += [note for note in getattr(part, "__metadata__", ()) if isinstance(note, Expected)]
    return found
