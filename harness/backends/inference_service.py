"""The InferenceService that the worlds honour, as strict models: a subset of serving.kserve.io/v1beta1.

What is not in these models is refused by its field path. The same document can be applied to Kubernetes: `to_dict`
gives it back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from harness.backends import assignment
from harness.backends.problems import problems
from harness.errors import DocumentError

DOMAIN = "example.com"
ScaleMetric = Literal["cpu", "memory", "concurrency", "rps"]


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


class Resources(_Strict):
    """What each replica requests and may use, as Kubernetes quantities: {"cpu": "200m", "nvidia.com/gpu": 1}."""

    requests: dict[str, str | int] = {}
    limits: dict[str, str | int] = {}


class Model(_Strict):
    """Which model to serve; `storage_uri` is models:/<name>/<version>, a path, or file://<path>."""

    model_format: ModelFormat
    storage_uri: str
    protocol_version: Literal["v1", "v2"] | None = None
    env: list[EnvVar] = []
    resources: Resources | None = None


class Logger(_Strict):
    """The payload logger: CloudEvents of requests and responses, POSTed to `url`."""

    mode: Literal["all", "request", "response"] = "all"
    url: str


class Predictor(_Strict):
    """One revision; its name is its identity across promotion. `timeout` is the route's, in seconds.

    The autoscaler keeps `scale_metric` (cpu) at `scale_target`: percent of what the replicas request (80) for cpu and
    memory, requests in flight (100) or a second (200) for each replica for concurrency and rps.
    """

    name: str = "stable"
    min_replicas: int = 1
    max_replicas: int | None = None
    scale_target: int | None = None
    scale_metric: ScaleMetric | None = None
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

    def in_namespace(self, namespace: str) -> Self:
        """The same service in another namespace."""
        return self.model_copy(update={"metadata": self.metadata.model_copy(update={"namespace": namespace})})

    def with_canary(self, name: str, storage_uri: str, percent: int) -> Self:
        """The service with one canary that is the predictor with another model; replaces any canary."""
        model = self.spec.predictor.model.model_copy(update={"storage_uri": storage_uri})
        shared = {"min_replicas", "logger", "timeout"}
        fields = {key: getattr(self.spec.predictor, key) for key in shared}
        canary = Canary(predictor=CanaryPredictor(name=name, model=model, **fields), traffic_percent=percent)
        return self._without_assignment()._with_spec(canary=[canary])

    def with_traffic(self, name: str, percent: int) -> Self:
        """The service with `percent` of its traffic for the canary `name`."""
        self._canary(name)
        canaries = [
            entry.model_copy(update={"traffic_percent": percent}) if entry.predictor.name == name else entry
            for entry in self.spec.canary
        ]
        return self._with_spec(canary=canaries)

    def with_split_by(self, by: str) -> Self:
        """The service with its canary's requests chosen `by` "user <header>" or "header <name>=<value>"; "": at random.

        A header alone decides, so it needs traffic_percent 0; a user's weights are those of the canary.
        """
        return self._annotated(assignment.SPLIT_BY, by)

    def with_autoscaling(
        self, most: int, *, target: int | None = None, metric: ScaleMetric = "cpu", least: int | None = None
    ) -> Self:
        """The service with up to `most` replicas, so many that `metric` is near `target` (see Predictor).

        `least` is the new minReplicas; 0, with the metrics concurrency and rps, lets it have none without requests.
        """
        size: dict[str, Any] = {"max_replicas": most, "scale_target": target, "scale_metric": metric}
        size |= {} if least is None else {"min_replicas": least}
        return self._with_spec(predictor=self.spec.predictor.model_copy(update=size))

    def with_resources(
        self, requests: Mapping[str, str | int] | None = None, limits: Mapping[str, str | int] | None = None
    ) -> Self:
        """The service whose replicas request and may use so much; a canary that is added later does as well."""
        resources = Resources(requests=dict(requests or {}), limits=dict(limits or {}))
        model = self.spec.predictor.model.model_copy(update={"resources": resources})
        return self._with_spec(predictor=self.spec.predictor.model_copy(update={"model": model}))

    def with_mirror(self, percent: int) -> Self:
        """The service with copies of `percent` of the baseline's requests for its canary; 0: none."""
        return self._annotated(assignment.MIRROR_PERCENT, str(percent) if percent else "")

    def with_logger(self, url: str, mode: Literal["all", "request", "response"] = "response") -> Self:
        """The service with CloudEvents of every revision's payloads to `url`."""
        return self._with_logger(Logger(mode=mode, url=url))

    def without_logger(self) -> Self:
        """The service that logs no payloads."""
        return self._with_logger(None)

    def without_canary(self, name: str) -> Self:
        """The service rolled back: the canary `name` is dropped, and what said how it gets its requests."""
        self._canary(name)
        rest = [entry for entry in self.spec.canary if entry.predictor.name != name]
        return self._without_assignment()._with_spec(canary=rest)

    def promoted(self, name: str) -> Self:
        """The service with the canary `name` as its predictor, as KServe 0.20 promotes: same name, entry dropped."""
        size = {key: getattr(self.spec.predictor, key) for key in ("max_replicas", "scale_target", "scale_metric")}
        fields = {**dict(self._canary(name).predictor), **size}  # a canary has no size of its own to scale to
        rest = [entry for entry in self.spec.canary if entry.predictor.name != name]
        return self._without_assignment()._with_spec(predictor=Predictor(**fields), canary=rest)

    def _canary(self, name: str) -> Canary:
        for entry in self.spec.canary:
            if entry.predictor.name == name:
                return entry
        known = ", ".join(entry.predictor.name for entry in self.spec.canary) or "none"
        raise DocumentError(f"InferenceService {self.namespace}/{self.name}: no canary {name!r}; its canaries: {known}")

    def _with_logger(self, logger: Logger | None) -> Self:
        update = {"logger": logger}
        canaries = [
            entry.model_copy(update={"predictor": entry.predictor.model_copy(update=update)})
            for entry in self.spec.canary
        ]
        return self._with_spec(predictor=self.spec.predictor.model_copy(update=update), canary=canaries)

    def _without_assignment(self) -> Self:
        kept = {key: value for key, value in self.metadata.annotations.items() if key not in assignment.OF_CANARY}
        return self.model_copy(update={"metadata": self.metadata.model_copy(update={"annotations": kept})})

    def _annotated(self, key: str, value: str) -> Self:
        known = {other: text for other, text in self.metadata.annotations.items() if other != key}
        changed = known | ({key: value} if value else {})
        metadata = self.metadata.model_copy(update={"annotations": changed})
        document = self.model_copy(update={"metadata": metadata})
        check(document)
        return document

    def _with_spec(self, **update: Any) -> Self:
        document = self.model_copy(update={"spec": self.spec.model_copy(update=update)})
        check(document)
        return document


def check(document: InferenceService) -> None:
    """Refuse what the structure alone does not show: names, shares, replicas, the transformer's entry point."""
    refuse(f"InferenceService {document.name!r}", list(problems(document)))


def refuse(where: str, wrong: list[str]) -> None:
    """Raise DocumentError with every problem in one line, if there is one."""
    if wrong:
        raise DocumentError(f"{where}: {'; '.join(wrong)}")


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_empty(inner) for key, inner in value.items() if inner not in ({}, [])}
    if isinstance(value, list):
        return [_without_empty(inner) for inner in value]
    return value
