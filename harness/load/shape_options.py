"""A shape as options of a locustfile in loadtests/: base_rps is --base-rps. Light, unlike harness.load.alone."""

from __future__ import annotations

from typing import Any

from harness.load.shapes import Shape

_OTHERS = {"rates_rps": "--rates"}


def option(field: str) -> str:
    """The option of a shape's field."""
    return _OTHERS.get(field, f"--{field.replace('_', '-')}")


def arguments(shape: Shape) -> list[str]:
    """The options that say a shape's fields."""
    return [word for name, value in shape.parameters().items() for word in (option(name), _text(value))]


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "/".join(map(repr, value))
    return value if isinstance(value, str) else repr(value)
