"""What a document asks for, as workloads: predictor, canaries, transformer, each with its content's digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.backends import assignment
from harness.backends.assignment import Split
from harness.backends.embedded.routes import DEFAULT_TIMEOUT_S, TRANSFORMER
from harness.backends.inference_service import EnvVar, InferenceService, Logger, Model
from harness.backends.quantities import requested

Kind = Literal["predictor", "canary", "transformer"]


@dataclass(frozen=True)
class Workload:
    """Replicas of one content. The digest leaves out what a promotion or a weight changes: role, weight, replicas.

    With `enough` of its `replicas` ready it counts as ready; None: all of them. `standby` is who takes its requests
    while it has no replica. `requests` is what each replica asks of the node.
    """

    name: str
    kind: Kind
    digest: str
    replicas: int
    storage_uri: str = ""
    target: str = ""
    env: tuple[tuple[str, str], ...] = ()
    logger: Logger | None = None
    protocol: Literal["v1", "v2"] = "v1"
    requests: tuple[tuple[str, float], ...] = ()
    enough: int | None = None
    standby: tuple[str, int] | None = None

    @property
    def needed(self) -> int:
        """How many ready replicas make it ready."""
        return self.replicas if self.enough is None else self.enough

    @property
    def key(self) -> tuple[str, str]:
        return self.name, self.digest


@dataclass(frozen=True)
class Desired:
    """One service as wanted. `percents` are the canaries' shares; the predictor has the rest.

    `split` says how requests are assigned to the shares, `mirror_percent` how many of the predictor's requests are
    copied to its one canary.
    """

    namespace: str
    name: str
    host: str
    predictor_host: str
    predictor: Workload
    canaries: tuple[Workload, ...] = ()
    transformer: Workload | None = None
    percents: Mapping[str, int] = field(default_factory=dict)
    timeout_s: int = DEFAULT_TIMEOUT_S
    split: Split | None = None
    mirror_percent: int = 0

    @property
    def predictors_host(self) -> str:
        """The host whose requests the predictor and its canaries share."""
        return self.host if self.transformer is None else self.predictor_host

    @property
    def workloads(self) -> tuple[Workload, ...]:
        front = (self.transformer,) if self.transformer else ()
        return (self.predictor, *self.canaries, *front)


def desired(document: InferenceService) -> Desired:
    """The workloads and shares that a document asks for."""
    spec = document.spec
    predictor = spec.predictor
    canaries = [entry.predictor for entry in spec.canary]
    return Desired(
        namespace=document.namespace,
        name=document.name,
        host=document.host,
        predictor_host=document.predictor_host,
        predictor=_serving(predictor.name, "predictor", predictor.min_replicas, predictor.model, predictor.logger),
        canaries=tuple(_serving(c.name, "canary", c.min_replicas, c.model, c.logger) for c in canaries),
        transformer=_transformer(document),
        percents={entry.predictor.name: entry.traffic_percent for entry in spec.canary},
        timeout_s=predictor.timeout or DEFAULT_TIMEOUT_S,
        split=assignment.split_of(document.metadata.annotations),
        mirror_percent=assignment.mirror_percent_of(document.metadata.annotations),
    )


def _serving(name: str, kind: Kind, replicas: int, model: Model, logger: Logger | None) -> Workload:
    content = {"model": model.model_dump(), "logger": logger.model_dump() if logger else None}
    return Workload(
        name,
        kind,
        _digest(content),
        replicas,
        storage_uri=model.storage_uri,
        env=_env(model.env),
        logger=logger,
        requests=tuple(requested(model.resources).items()),
    )


def _transformer(document: InferenceService) -> Workload | None:
    transformer = document.spec.transformer
    if transformer is None:
        return None
    container = transformer.containers[0]
    protocol = document.spec.predictor.model.protocol_version or "v1"
    content = {"container": container.model_dump(), "protocol": protocol}
    return Workload(
        TRANSFORMER,
        "transformer",
        _digest(content),
        transformer.min_replicas,
        target=container.args[0],
        env=_env(container.env),
        protocol=protocol,
    )


def _env(variables: list[EnvVar]) -> tuple[tuple[str, str], ...]:
    return tuple((variable.name, variable.value) for variable in variables)


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
