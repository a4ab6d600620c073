"""The InferenceService that the embedded world honours, as strict models: a subset of serving.kserve.io/v1beta1.

What is not in these models is refused by its field path. The same document can be applied to Kubernetes: `to_dict`
gives it back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from harness.errors import DocumentError

DOMAIN = "example.com"
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class _Strict(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        protected_namespaces=(),
    )


class Metadata(_Strict):
    name: str
    namespace: str = "default"
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class EnvVar(_Strict):
    name: str
    value: str = ""


class ModelFormat(_Strict):
    name: Literal["mlflow", "sklearn"]


class Model(_Strict):
    """Which model to serve; `storage_uri` is models:/<name>/<version>, a path, or file://<path>."""

    model_format: ModelFormat
    storage_uri: str
    protocol_version: Literal["v1", "v2"] | None = None
    env: list[EnvVar] = []


class Logger(_Strict):
    """The payload logger: CloudEvents of requests and responses, POSTed to `url`."""

    mode: Literal["all", "request", "response"] = "all"
    url: str


class Predictor(_Strict):
    """One revision; its name is its identity across promotion. `timeout` is the route's, in seconds."""

    name: str = "stable"
    min_replicas: int = 1
    max_replicas: int | None = None
    model: Model
    logger: Logger | None = None
    timeout: int | None = None


class CanaryPredictor(_Strict):
    name: str
    min_replicas: int = 1
    model: Model
    logger: Logger | None = None
    timeout: int | None = None


class Canary(_Strict):
    """A second revision beside the predictor; `traffic_percent` of the requests go to it once it is ready."""

    predictor: CanaryPredictor
    traffic_percent: int


class Container(_Strict):
    """A transformer's container; embedded forks `args[0]`, the "module:Class" of a kserve.Model subclass."""

    name: str = "kserve-container"
    image: str = ""
    args: list[str]
    env: list[EnvVar] = []


class Transformer(_Strict):
    min_replicas: int = 1
    containers: list[Container]


class Spec(_Strict):
    predictor: Predictor
    canary: list[Canary] = []
    transformer: Transformer | None = None


class InferenceService(_Strict):
    """A document that passed every check; edit it with the `with_...` methods, which return a new one."""

    api_version: Literal["serving.kserve.io/v1beta1"] = "serving.kserve.io/v1beta1"
    kind: Literal["InferenceService"] = "InferenceService"
    metadata: Metadata
    spec: Spec

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def namespace(self) -> str:
        return self.metadata.namespace

    @property
    def host(self) -> str:
        """The host name that the gateway routes to this service."""
        return f"{self.name}-{self.namespace}.{DOMAIN}"

    @property
    def predictor_host(self) -> str:
        """The host name of the weighted predictors behind a transformer."""
        return f"{self.name}-predictor-{self.namespace}.{DOMAIN}"

    def to_dict(self) -> dict[str, Any]:
        """The document as YAML or Kubernetes' API take it; `parse` of it gives an equal document."""
        document: dict[str, Any] = _without_empty(self.model_dump(by_alias=True, exclude_none=True))
        return document

    def with_canary(self, name: str, storage_uri: str, percent: int) -> Self:
        """The service with one canary that is the predictor with another model; replaces any canary."""
        model = self.spec.predictor.model.model_copy(update={"storage_uri": storage_uri})
        shared = {"min_replicas", "logger", "timeout"}
        fields = {key: getattr(self.spec.predictor, key) for key in shared}
        canary = Canary(predictor=CanaryPredictor(name=name, model=model, **fields), traffic_percent=percent)
        return self._with_spec(canary=[canary])

    def with_traffic(self, name: str, percent: int) -> Self:
        """The service with `percent` of its traffic for the canary `name`."""
        self._canary(name)
        canaries = [
            entry.model_copy(update={"traffic_percent": percent}) if entry.predictor.name == name else entry
            for entry in self.spec.canary
        ]
        return self._with_spec(canary=canaries)

    def without_canary(self, name: str) -> Self:
        """The service rolled back: the canary `name` is dropped."""
        self._canary(name)
        return self._with_spec(canary=[entry for entry in self.spec.canary if entry.predictor.name != name])

    def promoted(self, name: str) -> Self:
        """The service with the canary `name` as its predictor, as KServe 0.20 promotes: same name, entry dropped."""
        fields = dict(self._canary(name).predictor)
        rest = [entry for entry in self.spec.canary if entry.predictor.name != name]
        return self._with_spec(predictor=Predictor(**fields), canary=rest)

    def _canary(self, name: str) -> Canary:
        for entry in self.spec.canary:
            if entry.predictor.name == name:
                return entry
        known = ", ".join(entry.predictor.name for entry in self.spec.canary) or "none"
        raise DocumentError(f"InferenceService {self.namespace}/{self.name}: no canary {name!r}; its canaries: {known}")

    def _with_spec(self, **update: Any) -> Self:
        document = self.model_copy(update={"spec": self.spec.model_copy(update=update)})
        check(document)
        return document


def check(document: InferenceService) -> None:
    """Refuse what the structure alone does not show: names, shares, replicas, the transformer's entry point."""
    refuse(f"InferenceService {document.name!r}", list(problems(document)))


def refuse(where: str, problems: list[str]) -> None:
    """Raise DocumentError with every problem in one line, if there is one."""
    if problems:
        raise DocumentError(f"{where}: {'; '.join(problems)}")


def problems(document: InferenceService) -> Iterator[str]:
    """One line for each thing that is wrong, with its field path."""
    for path, name in _names(document):
        if not _DNS_LABEL.fullmatch(name):
            yield f"{path}: expected a DNS-1123 label (lower-case letters, digits, '-', at most 63), got {name!r}"
    yield from _traffic_problems(document.spec)
    yield from _replica_problems(document.spec)
    if document.spec.transformer is not None:
        yield from _transformer_problems(document.spec.transformer)


def _names(document: InferenceService) -> Iterator[tuple[str, str]]:
    yield "metadata.name", document.name
    yield "metadata.namespace", document.namespace
    yield "spec.predictor.name", document.spec.predictor.name
    for index, entry in enumerate(document.spec.canary):
        yield f"spec.canary[{index}].predictor.name", entry.predictor.name


def _traffic_problems(spec: Spec) -> Iterator[str]:
    seen = {spec.predictor.name: "spec.predictor.name"}
    for index, entry in enumerate(spec.canary):
        path = f"spec.canary[{index}]"
        name = entry.predictor.name
        if name in seen:
            yield f"{path}.predictor.name: must differ from {seen[name]}, got {name!r}"
        seen.setdefault(name, f"{path}.predictor.name")
        if not 0 <= entry.traffic_percent <= 100:
            yield f"{path}.trafficPercent: expected 0 to 100, got {entry.traffic_percent}"
    total = sum(entry.traffic_percent for entry in spec.canary)
    if total > 100:
        yield f"spec.canary[].trafficPercent: expected a sum of at most 100, got {total}"


def _replica_problems(spec: Spec) -> Iterator[str]:
    replicas = [("spec.predictor", spec.predictor.min_replicas)]
    replicas += [(f"spec.canary[{index}].predictor", e.predictor.min_replicas) for index, e in enumerate(spec.canary)]
    if spec.transformer is not None:
        replicas.append(("spec.transformer", spec.transformer.min_replicas))
    for path, count in replicas:
        if count < 1:
            yield f"{path}.minReplicas: expected at least 1 (scale to zero is not honoured), got {count}"
    most, least = spec.predictor.max_replicas, spec.predictor.min_replicas
    if most is not None and most != least:
        yield f"spec.predictor.maxReplicas: autoscaling is not honoured yet: expected minReplicas ({least}), got {most}"
    predictors = [("spec.predictor", spec.predictor.timeout)]
    predictors += [(f"spec.canary[{index}].predictor", e.predictor.timeout) for index, e in enumerate(spec.canary)]
    for path, timeout in predictors:
        if timeout is not None and timeout < 1:
            yield f"{path}.timeout: expected at least 1 second, got {timeout}"
        elif timeout != spec.predictor.timeout:
            yield f"{path}.timeout: one route serves both: expected spec.predictor.timeout, got {timeout}"


def _transformer_problems(transformer: Transformer) -> Iterator[str]:
    if len(transformer.containers) != 1:
        yield f"spec.transformer.containers: expected exactly one, got {len(transformer.containers)}"
    for index, container in enumerate(transformer.containers):
        if len(container.args) != 1 or not re.fullmatch(r"[\w.]+:\w+", container.args[0]):
            path = f"spec.transformer.containers[{index}].args"
            yield f'{path}: expected ["module:Class"] of a kserve.Model subclass, got {container.args!r}'


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_empty(inner) for key, inner in value.items() if inner not in ({}, [])}
    if isinstance(value, list):
        return [_without_empty(inner) for inner in value]
    return value
