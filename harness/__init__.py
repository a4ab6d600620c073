"""Rehearse an ML release on the real programs, before production sees it.

The public names are loaded when first used, so that `import harness` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness._traffic import Window
    from harness.errors import GateRefused
    from harness.lifecycle.dataset import Dataset
    from harness.lifecycle.rollout import ABTest, BlueGreen, Canary, Outcome, Shadow
    from harness.lifecycle.slo import SLO
    from harness.lifecycle.spec import GatePolicy
    from harness.platform import Platform

__version__ = "0.1.0"
__all__ = [
    "SLO",
    "ABTest",
    "BlueGreen",
    "Canary",
    "Dataset",
    "GatePolicy",
    "GateRefused",
    "Outcome",
    "Platform",
    "Shadow",
    "Window",
    "__version__",
]

_HOMES = {
    "ABTest": "harness.lifecycle.rollout",
    "BlueGreen": "harness.lifecycle.rollout",
    "Canary": "harness.lifecycle.rollout",
    "Dataset": "harness.lifecycle.dataset",
    "GateRefused": "harness.errors",
    "GatePolicy": "harness.lifecycle.spec",
    "Outcome": "harness.lifecycle.rollout",
    "Platform": "harness.platform",
    "SLO": "harness.lifecycle.slo",
    "Shadow": "harness.lifecycle.rollout",
    "Window": "harness._traffic",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'harness' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
