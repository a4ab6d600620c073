"""The InferenceService documents that the embedded world honours: a strict subset of serving.kserve.io/v1beta1.

What is not in these models is refused by its field path, so that no field is ever ignored silently. The same document
can be applied to Kubernetes: `to_dict` gives it back.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any, Literal, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from harness.backends._document_checks import problems
from harness.errors import DocumentError

DOMAIN = "example.com"
_HINTS = {
    "canaryTrafficPercent": "use spec.canary[].trafficPercent: KServe ignores this field outside Knative mode",
    "scaleTarget": "the embedded world runs a fixed number of replicas: set minReplicas",
    "valueFrom": "give the value itself: there are no Secrets and ConfigMaps here",
}


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
    version: str | None = None


class Model(_Strict):
    """Which model to serve; `storage_uri` is models:/<name>/<version>, a path, or file://<path>."""

    model_format: ModelFormat
    storage_uri: str
    protocol_version: Literal["v1", "v2"] | None = None
    env: list[EnvVar] = []
    runtime: str | None = None


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
        _refuse(_name_of(document), list(problems(document)))
        return document


def parse(source: dict[str, Any] | str | Path) -> InferenceService:
    """The document in a mapping, in YAML text or in a file; DocumentError names every field that is wrong."""
    data, where = _read(source)
    if not isinstance(data, dict):
        raise DocumentError(f"{where}: expected one mapping with apiVersion, kind, metadata and spec")
    where = _label(data, where)
    try:
        document = InferenceService.model_validate(data, by_alias=True, by_name=False)
    except ValidationError as error:
        raise DocumentError(f"{where}: {'; '.join(_lines(error))}", hint=_hint(error)) from None
    _refuse(where, list(problems(document)))
    return document


def _read(source: dict[str, Any] | str | Path) -> tuple[Any, str]:
    if isinstance(source, dict):
        return source, "InferenceService"
    is_file = isinstance(source, Path) or ("\n" not in source and source.endswith((".yaml", ".yml", ".json")))
    try:
        text = Path(source).read_text(encoding="utf-8") if is_file else str(source)
        return yaml.safe_load(text), str(source) if is_file else "InferenceService"
    except OSError as error:
        raise DocumentError(f"{source}: cannot read the document: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        place = str(error).replace("\n", " ")
        raise DocumentError(f"{source if is_file else 'InferenceService'}: not YAML: {place}") from None


def _label(data: dict[str, Any], where: str) -> str:
    metadata = data.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    return f"{where} {name!r}" if isinstance(name, str) else where


def _name_of(document: InferenceService) -> str:
    return f"InferenceService {document.name!r}"


def _refuse(where: str, problems: list[str]) -> None:
    if problems:
        raise DocumentError(f"{where}: {'; '.join(problems)}")


def _lines(error: ValidationError) -> Iterator[str]:
    for item in error.errors():
        path = _path(item["loc"])
        if item["type"] == "extra_forbidden":
            yield f"{path}: not honoured here (honoured: {', '.join(_siblings(item['loc']))})"
        elif item["type"] == "missing":
            yield f"{path}: required"
        else:
            yield f"{path}: {_lower(item['msg'])}, got {item['input']!r}"


def _hint(error: ValidationError) -> str:
    names = (str(item["loc"][-1]) for item in error.errors() if item["type"] == "extra_forbidden")
    return "; ".join(_HINTS[name] for name in names if name in _HINTS)


def _path(loc: tuple[int | str, ...]) -> str:
    return reduce(lambda path, part: f"{path}[{part}]" if isinstance(part, int) else f"{path}.{part}", loc, "")[1:]


def _siblings(loc: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] = InferenceService
    for part in loc[:-1]:
        if isinstance(part, str):
            fields = {field.alias or name: field.annotation for name, field in model.model_fields.items()}
            model = _model_in(fields[part])
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> type[BaseModel]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(_model_in(inner) for inner in get_args(annotation) if inner is not type(None))


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_empty(inner) for key, inner in value.items() if inner not in ({}, [])}
    if isinstance(value, list):
        return [_without_empty(inner) for inner in value]
    return value
