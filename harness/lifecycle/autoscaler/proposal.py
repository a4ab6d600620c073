"""What one metric asks for: desired = ceil(current * metric / target), with what is not known read against a change.

Kubernetes documentation, "Horizontal Pod Autoscaling", algorithm details; the arithmetic of replica_calculator.go of
Kubernetes 1.34: a replica without a sample counts as 0 when scaling up and as the target (utilisation: all of its
request) when scaling down; one that is not ready counts as 0 when scaling up; neither may turn the direction round.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from harness.lifecycle.autoscaler.spec import AutoscalerSpec, Observed, Replica, Sample, Target, TargetKind


@dataclass(frozen=True)
class Proposal:
    """How many replicas one metric asks for; None if it says nothing, `why` then says why. `value`: as measured."""

    metric: str
    replicas: int | None
    value: float | None = None
    why: str = ""


class _Standing(Enum):
    COUNTED = "counted"
    UNREADY = "unready"
    MISSING = "missing"
    IGNORED = "ignored"


_Entry = tuple[float, float]  # value, request


def propose(target: Target, observed: Observed, spec: AutoscalerSpec, now: float) -> Proposal:
    """The replicas that would bring a metric to its target, from what is known of the replicas at `now`."""
    groups: dict[_Standing, list[Replica]] = {each: [] for each in _Standing}
    for replica in observed.replicas:
        groups[standing(replica, target.metric, spec, now)].append(replica)
    counted = [(r.samples[target.metric].value, r.requests.get(target.metric, 0.0)) for r in groups[_Standing.COUNTED]]
    if not counted:
        return Proposal(target.metric, None, why="no metrics of a ready replica")
    if target.kind is TargetKind.UTILIZATION and not all(request > 0 for _, request in counted):
        return Proposal(target.metric, None, why=f"a replica does not request {target.metric}")
    ratio, value = _ratio(target, counted)
    unready, missing = groups[_Standing.UNREADY], groups[_Standing.MISSING]
    if not missing and not (unready and ratio > 1):
        wanted = observed.current if _within(ratio, spec) else _ceil(ratio * len(counted))
        return Proposal(target.metric, wanted, value)
    filled = counted + _guessed(target, ratio, missing, unready)
    return Proposal(target.metric, _cautious(target, ratio, filled, observed.current, spec), value)


def standing(replica: Replica, metric: str, spec: AutoscalerSpec, now: float) -> _Standing:
    """How a replica counts for a metric."""
    if replica.ending:
        return _Standing.IGNORED
    if replica.pending:
        return _Standing.UNREADY
    sample = replica.samples.get(metric)
    if sample is None:
        return _Standing.MISSING
    return _Standing.UNREADY if metric == "cpu" and _warming(replica, sample, spec, now) else _Standing.COUNTED


def _warming(replica: Replica, sample: Sample, spec: AutoscalerSpec, now: float) -> bool:
    """Whether the CPU figure may be that of a start: within the initialisation period only a full window counts."""
    changed = replica.ready_changed_at
    if changed is None:
        return True
    if now < replica.started_at + spec.initialisation_s:
        return not replica.ready or sample.at < changed + sample.window_s
    return not replica.ready and changed < replica.started_at + spec.first_readiness_s


def _ratio(target: Target, entries: Sequence[_Entry]) -> tuple[float, float]:
    """Measured over target, and what was measured; a utilisation is whole percent, as upstream counts it."""
    total = sum(value for value, _ in entries)
    if target.kind is TargetKind.AVERAGE_VALUE:
        value = total / len(entries)
    else:
        value = float(math.floor(total * 100 / sum(request for _, request in entries) + 1e-9))
    return value / target.value, value


def _guessed(target: Target, ratio: float, missing: Sequence[Replica], unready: Sequence[Replica]) -> list[_Entry]:
    """What is assumed of the replicas without a figure."""
    of = [replica.requests.get(target.metric, 0.0) for replica in missing]
    found: list[_Entry] = []
    if ratio > 1:
        found = [(0.0, request) for request in of]
        found += [(0.0, replica.requests.get(target.metric, 0.0)) for replica in unready]
    elif ratio < 1 and target.kind is TargetKind.UTILIZATION:
        found = [(request * max(100, target.value) / 100, request) for request in of]
    elif ratio < 1:
        found = [(target.value, request) for request in of]
    return found


def _cautious(target: Target, ratio: float, filled: Sequence[_Entry], current: int, spec: AutoscalerSpec) -> int:
    """The replicas by figures that are partly assumed: none if these ask for the other direction."""
    again, _ = _ratio(target, filled)
    turned = (ratio < 1 < again) or (again < 1 < ratio)
    wanted = _ceil(again * len(filled))
    if _within(again, spec) or turned or (again < 1 and wanted > current) or (again > 1 and wanted < current):
        return current
    return wanted


def _within(ratio: float, spec: AutoscalerSpec) -> bool:
    return abs(1.0 - ratio) <= spec.tolerance + 1e-12


def _ceil(value: float) -> int:
    """ceil, but for the last bits of a product: 2.0000000000000004 replicas are 2."""
    return math.ceil(value - 1e-9)
