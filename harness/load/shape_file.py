"""Shapes as users write them: a TOML file, a line such as "ramp:from_rps=10,to_rps=200", or a mapping."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from harness.errors import ConfigError
from harness.load.shapes import SHAPES, Shape
from harness.load.trace import Replay

KINDS: dict[str, type[Shape]] = {**SHAPES, Replay.kind: Replay}


def parse_shape(text: str) -> Shape:
    """A shape from `rehearse load --shape`: the path of a .toml file, or KIND or KIND:field=value,field=value."""
    if text.endswith(".toml"):
        return read_shape(Path(text))
    kind, _, given = text.partition(":")
    parameters = {}
    for part in filter(None, given.split(",")):
        name, equals, value = part.partition("=")
        if not equals:
            raise ConfigError(f"load.shape: expected {kind}:field=value,field=value, got {part!r}")
        parameters[name.strip()] = _value(value.strip())
    return shape_of({"kind": kind, **parameters})


def read_shape(path: Path) -> Shape:
    """A shape from a TOML file: `kind`, and the fields of that kind. A trace's path is relative to the file."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file", hint="manifests/shapes has examples.") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    if isinstance(content.get("trace"), str):
        content["trace"] = str(path.parent / content["trace"])
    return shape_of(content, where=f"{path}: ")


def shape_of(content: Mapping[str, Any], where: str = "") -> Shape:
    """A shape from `kind` and its fields; ConfigError, with what is allowed, for what there is not."""
    kind = content.get("kind")
    made = KINDS.get(kind) if isinstance(kind, str) else None
    if made is None:
        raise ConfigError(f"{where}load.shape: expected {', '.join(KINDS)}, or a .toml file, got {kind!r}")
    allowed = [each.name for each in fields(made)]
    given = {name: value for name, value in content.items() if name != "kind"}
    if unknown := sorted(given.keys() - set(allowed)):
        raise ConfigError(f"{where}load.shape: {kind} has no {unknown[0]}; it has {', '.join(allowed)}")
    try:
        return made(**given)
    except ConfigError as error:
        raise ConfigError(f"{where}{error.message}") from error


def _value(text: str) -> Any:
    """A number, several numbers between slashes, or else the text."""
    try:
        return int(text) if text.lstrip("-").isdecimal() else float(text)
    except ValueError:
        parts = [_value(part) for part in text.split("/")] if "/" in text else [text]
        return tuple(parts) if all(isinstance(part, int | float) for part in parts) else text
