"""The conditions of an InferenceService, from what is wanted and what is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.backends.embedded.planner import Failure, Key, ReplicaView, Routing, is_ready
from harness.backends.embedded.revisions import Desired, Workload
from harness.backends.status import CanaryStatus, Condition, dated


def conditions(
    wanted: Desired,
    replicas: Sequence[ReplicaView],
    failures: Mapping[Key, Failure],
    routing: Routing,
    previous: Sequence[Condition],
) -> tuple[Condition, ...]:
    """The conditions now; Ready is the conjunction of the others, and carries the first reason against it."""
    parts = [_of_workload("PredictorReady", wanted.predictor, replicas, failures)]
    if wanted.transformer is not None:
        parts.append(_of_workload("TransformerReady", wanted.transformer, replicas, failures))
    parts.append(_ingress(routing))
    against = [part for part in parts if part.status != "True"]
    ready = Condition("Ready", against[0].status, against[0].reason, against[0].message) if against else None
    return tuple(dated(part, previous) for part in [*parts, ready or Condition("Ready", "True")])


def canary_statuses(
    wanted: Desired, replicas: Sequence[ReplicaView], failures: Mapping[Key, Failure], routing: Routing
) -> tuple[CanaryStatus, ...]:
    """The canaries' own states; they do not touch the service's conditions."""
    found = []
    for canary in wanted.canaries:
        state = _of_workload("", canary, replicas, failures)
        weight = routing.weights.get(canary.name, 0)
        gave_up = state.status == "False"
        ready = state.status == "True"
        found.append(CanaryStatus(canary.name, ready, weight, gave_up, state.reason, state.message))
    return tuple(found)


def _of_workload(
    kind: str, workload: Workload, replicas: Sequence[ReplicaView], failures: Mapping[Key, Failure]
) -> Condition:
    if is_ready(workload, replicas):
        return Condition(kind, "True")
    failure = failures.get(workload.key)
    unplaced = next((replica.why for replica in replicas if replica.why and replica.workload == workload.name), "")
    if failure and failure.final:
        return Condition(kind, "False", failure.reason, failure.message)
    if failure:
        return Condition(kind, "Unknown", "Restarting", failure.message)
    if unplaced:
        return Condition(kind, "Unknown", "Unschedulable", f"{workload.name}: {unplaced}")
    return Condition(kind, "Unknown", "Deploying", f"{workload.name}: waiting for {workload.needed} ready replicas")


def _ingress(routing: Routing) -> Condition:
    if sum(routing.weights.values()) == 100:
        return Condition("IngressReady", "True")
    return Condition("IngressReady", "Unknown", "NoRoute", "no revision is ready to be routed to")
