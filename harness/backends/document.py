"""Reading an InferenceService document: unknown and unsupported fields are refused, all of them in one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import reduce
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from harness.backends.inference_service import InferenceService, refuse
from harness.backends.problems import problems
from harness.errors import DocumentError

_HINTS = {
    "canaryTrafficPercent": "use spec.canary[].trafficPercent: KServe ignores this field outside Knative mode",
    "valueFrom": "give the value itself: there are no Secrets and ConfigMaps here",
}


def parse(source: Mapping[str, Any] | str | Path) -> InferenceService:
    """The document in a mapping, in YAML text or in a file; DocumentError names every field that is wrong."""
    data, where = _read(source)
    if not isinstance(data, dict):
        raise DocumentError(f"{where}: expected one mapping with apiVersion, kind, metadata and spec")
    where = _label(data, where)
    try:
        document = InferenceService.model_validate(data, by_alias=True, by_name=False)
    except ValidationError as error:
        raise DocumentError(f"{where}: {'; '.join(_lines(error))}", hint=_hint(error)) from None
    refuse(where, list(problems(document)))
    return document


def _read(source: Mapping[str, Any] | str | Path) -> tuple[Any, str]:
    if isinstance(source, Mapping):
        return dict(source), "InferenceService"
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
