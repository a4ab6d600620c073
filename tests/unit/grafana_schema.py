"""Grafana's dashboard schema, as its builder library has it in types: what of a dashboard's JSON does not fit them."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator
from enum import Enum
from typing import Any, Literal, Union

from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.runtime import UnknownDataquery
from grafana_foundation_sdk.models.dashboard import Dashboard

plugins.register_default_plugins()


def problems(data: dict[str, Any]) -> list[str]:
    """One line for each field that is unknown or of another type than the schema's; [] for a valid dashboard."""
    read = Dashboard.from_json(data)
    again = json.loads(json.dumps(read, cls=JSONEncoder))
    return [*_lost(data, again, "dashboard"), *_mistyped(read, Dashboard, "dashboard")]


def _lost(given: Any, kept: Any, where: str) -> Iterator[str]:
    """What the schema does not know is not there any more once it was read."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for name in given:
            if name not in kept:
                yield f"{where}.{name}: unknown"
            else:
                yield from _lost(given[name], kept[name], f"{where}.{name}")
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for at, pair in enumerate(zip(given, kept, strict=True)):
            yield from _lost(*pair, f"{where}[{at}]")
    elif given != kept:
        yield f"{where}: {given!r} is read as {kept!r}"


def _mistyped(value: Any, hint: Any, where: str) -> Iterator[str]:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        tries = [list(_mistyped(value, each, where)) for each in inner]
        yield from min(tries, key=len)
    elif origin is list and isinstance(value, list):
        for at, each in enumerate(value):
            yield from _mistyped(each, inner[0], f"{where}[{at}]")
    elif origin is dict and isinstance(value, dict):
        for name, each in value.items():
            yield from _mistyped(each, inner[1], f"{where}.{name}")
    elif isinstance(value, UnknownDataquery):
        yield f"{where}: of a kind of data source that nobody knows"
    elif hasattr(value, "to_json") and (hint is object or isinstance(value, hint)):
        for name, each in typing.get_type_hints(type(value)).items():
            yield from _mistyped(getattr(value, name), each, f"{where}.{name}")
    elif not _fits(value, hint, origin, inner):
        yield f"{where}: {value!r} is no {hint}"


def _fits(value: Any, hint: Any, origin: Any, inner: tuple[Any, ...]) -> bool:
    if hint is object or hint is Any:
        return True
    if origin is Literal:
        return value in inner
    if isinstance(hint, type) and issubclass(hint, Enum):
        return value in [each.value for each in hint]
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(hint, type) and isinstance(value, hint) and isinstance(value, bool) == (hint is bool)
