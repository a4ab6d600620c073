"""What one metric asks for: desired = ceil(current * metric / target), with what is not known read against a change.

Kubernetes documentation, "Horizontal Pod Autoscaling", algorithm details; the arithmetic of replica_calculator.go of
Kubernetes 1.34, to its last bit: a replica without a sample counts as 0 when scaling up and as the target (utilisation:
all of its request) when scaling down; one that is not ready counts as 0 when scaling up; neither may turn the direction
round. A figure of the whole service knows no replicas that are not ready.
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


_Entry = tuple[int, int]  # used, requested; thousandths


def propose(target: Target, observed: Observed, spec: AutoscalerSpec, now: float) -> Proposal:
    """The replicas that would bring a metric to its target, from what is known of the replicas at `now`."""
    return _of_service(target, observed, spec) if target.kind.of_service else _of_replicas(target, observed, spec, now)


def _of_service(target: Target, observed: Observed, spec: AutoscalerSpec) -> Proposal:
    """By one figure of the whole service; from zero replicas no tolerance keeps it."""
    total = observed.totals.get(target.metric)
    if total is None:
        return Proposal(target.metric, None, why="no value of the whole service")
    used, aim = _milli(total), _milli(target.value)
    there = sum(not replica.ending for replica in observed.replicas)
    if target.kind is TargetKind.EXTERNAL_VALUE:
        wanted = _in_all(used / aim, observed, spec)
        return Proposal(target.metric, wanted, total)
    value = total / there if there else total
    if there and _within(used / (aim * there), spec):
        return Proposal(target.metric, there, value)
    return Proposal(target.metric, math.ceil(used / aim), value)


def _in_all(ratio: float, observed: Observed, spec: AutoscalerSpec) -> int:
    if not observed.current:
        return math.ceil(ratio)
    if _within(ratio, spec):
        return observed.current
    return math.ceil(ratio * sum(each.ready and not (each.pending or each.ending) for each in observed.replicas))


def _of_replicas(target: Target, observed: Observed, spec: AutoscalerSpec, now: float) -> Proposal:
    groups: dict[_Standing, list[Replica]] = {each: [] for each in _Standing}
    for replica in observed.replicas:
        groups[standing(replica, target.metric, spec, now)].append(replica)
    counted = [
        (_milli(replica.samples[target.metric].value), _request(target, replica))
        for replica in groups[_Standing.COUNTED]
    ]
    if not counted:
        return Proposal(target.metric, None, why="no metrics of a ready replica")
    if target.kind is TargetKind.UTILIZATION and not all(_request(target, each) for each in observed.replicas):
        return Proposal(target.metric, None, why=f"a replica does not request {target.metric}")
    ratio, value = _ratio(target, counted)
    unready, missing = groups[_Standing.UNREADY], groups[_Standing.MISSING]
    if not missing and not (unready and ratio > 1):
        wanted = observed.current if _within(ratio, spec) else math.ceil(ratio * len(counted))
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
    """Measured over target, and what was measured: whole percent or whole thousandths, as upstream counts."""
    total = sum(used for used, _ in entries)
    if target.kind is TargetKind.AVERAGE_VALUE:
        mean = total // len(entries)
        return mean / _milli(target.value), mean / 1000
    percent = total * 100 // sum(request for _, request in entries)
    return percent / target.value, float(percent)


def _guessed(target: Target, ratio: float, missing: Sequence[Replica], unready: Sequence[Replica]) -> list[_Entry]:
    """What is assumed of the replicas without a figure."""
    of = [_request(target, replica) for replica in missing]
    found: list[_Entry] = []
    if ratio > 1:
        found = [(0, request) for request in of]
        found += [(0, _request(target, replica)) for replica in unready]
    elif ratio < 1 and target.kind is TargetKind.UTILIZATION:
        found = [(request * max(100, int(target.value)) // 100, request) for request in of]
    elif ratio < 1:
        found = [(_milli(target.value), request) for request in of]
    return found


def _cautious(target: Target, ratio: float, filled: Sequence[_Entry], current: int, spec: AutoscalerSpec) -> int:
    """The replicas by figures that are partly assumed: none if these ask for the other direction."""
    again, _ = _ratio(target, filled)
    turned = (ratio < 1 < again) or (again < 1 < ratio)
    wanted = math.ceil(again * len(filled))
    if _within(again, spec) or turned or (again < 1 and wanted > current) or (again > 1 and wanted < current):
        return current
    return wanted


def _within(ratio: float, spec: AutoscalerSpec) -> bool:
    return 1.0 - spec.tolerance <= ratio <= 1.0 + spec.tolerance


def _request(target: Target, replica: Replica) -> int:
    return _milli(replica.requests.get(target.metric, 0.0))


def _milli(value: float) -> int:
    """Whole thousandths, rounded up, as a Kubernetes quantity gives them; not by the last bits of a float."""
    return math.ceil(round(value * 1000, 6))
