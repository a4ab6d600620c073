"""Checks of a model version: frozen data with pure judgements; a file of them is TOML (docs/model-checks.md)."""

from __future__ import annotations

from harness.lifecycle.checks.behaviour import Case, Direction, Invariance, MinimumFunctionality, Moved
from harness.lifecycle.checks.consumers import Asked, Consumers
from harness.lifecycle.checks.robustness import Probe, Robustness
from harness.lifecycle.checks.serving import Compared, Latency, Size, Skew
from harness.lifecycle.checks.slices import Labelled, Slice
from harness.lifecycle.checks.table import KINDS, Check, as_table, load_checks, parse_checks, require_columns

__all__ = [
    "KINDS",
    "Asked",
    "Case",
    "Check",
    "Compared",
    "Consumers",
    "Direction",
    "Invariance",
    "Labelled",
    "Latency",
    "MinimumFunctionality",
    "Moved",
    "Probe",
    "Robustness",
    "Size",
    "Skew",
    "Slice",
    "as_table",
    "load_checks",
    "parse_checks",
    "require_columns",
]
