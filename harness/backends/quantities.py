"""Kubernetes quantities as numbers, and what a replica requests of a node."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.backends.inference_service import Resources

_QUANTITY = re.compile(r"\d+(\.\d+)?(m|k|[KMGTPE]i|[MGTPE])?")
_UNITS = {
    "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60,
}  # fmt: skip


def quantity(text: str) -> float:
    """A Kubernetes quantity as a number: "200m" is 0.2."""
    unit = next((unit for unit in sorted(_UNITS, key=len, reverse=True) if text.endswith(unit)), "")
    return float(text.removesuffix(unit)) * _UNITS.get(unit, 1.0)


def is_quantity(text: str) -> bool:
    """Whether a person would write a quantity so: 200m, 2 or 512Mi."""
    return bool(_QUANTITY.fullmatch(text))


def requested(resources: Resources | None) -> dict[str, float]:
    """Resource -> amount that one replica requests: cores, bytes, devices; a limit without a request is one."""
    if resources is None:
        return {}
    asked = {**resources.limits, **resources.requests}
    return {name: quantity(str(value)) for name, value in asked.items()}
