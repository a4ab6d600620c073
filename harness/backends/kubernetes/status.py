"""The status of a service in a cluster, with KServe's names: from its Pods, KServe's own word, and the routing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.backends.kubernetes.plan import Routing
from harness.backends.kubernetes.pods import Failure, Replica, failure_of, replica_statuses
from harness.backends.status import CanaryStatus, Condition, Status, Truth, dated


@dataclass(frozen=True)
class Observed:
    """One look at a service. `digests`: the wanted content of each revision; `ready`: those that are ready and routed;
    `kserve`: the object's status field; `problem`: what the router's last step met.
    """

    predictor: str
    canaries: tuple[str, ...]
    digests: Mapping[str, str]
    ready: frozenset[str]
    replicas: Sequence[Replica]
    routing: Routing
    kserve: Mapping[str, Any] = field(default_factory=dict)
    problem: Failure | None = None


def status_of(
    seen: Observed, *, host: str, generation: int, observed_generation: int, previous: Sequence[Condition]
) -> Status:
    """The status; Ready is the conjunction of the other conditions, and carries the first reason against it."""
    parts = [_workload("PredictorReady", seen, seen.predictor), _ingress(seen)]
    against = [part for part in parts if part.status != "True"]
    ready = Condition("Ready", against[0].status, against[0].reason, against[0].message) if against else None
    return Status(
        generation=generation,
        observed_generation=observed_generation,
        url=f"http://{host}",
        conditions=tuple(dated(part, previous) for part in [*parts, ready or Condition("Ready", "True")]),
        canary_statuses=tuple(_canary(seen, name) for name in seen.canaries),
        weights={name: weight for name, weight in seen.routing.weights.items() if weight or name in seen.canaries},
        replicas=replica_statuses(seen.replicas),
        restarts=_restarts(seen.replicas),
    )


def _canary(seen: Observed, name: str) -> CanaryStatus:
    state = _workload("", seen, name)
    weight = seen.routing.weights.get(name, 0)
    return CanaryStatus(name, state.status == "True", weight, state.status == "False", state.reason, state.message)


def _workload(kind: str, seen: Observed, revision: str) -> Condition:
    """A revision is ready when the gateway could send it requests, and False only when it cannot become so."""
    if revision in seen.ready:
        return Condition(kind, "True")
    failure = failure_of(seen.replicas, revision, seen.digests.get(revision, "")) or _refused(seen.kserve)
    if failure is not None:
        truth: Truth = "False" if failure.final else "Unknown"
        return Condition(kind, truth, failure.reason, failure.message)
    return Condition(kind, "Unknown", "Deploying", f"{revision}: waiting for its replicas")


def _refused(kserve: Mapping[str, Any]) -> Failure | None:
    """What KServe's controller says when it cannot make a Deployment at all, such as a missing runtime."""
    info = kserve.get("modelStatus", {}).get("lastFailureInfo", {})
    if kserve.get("modelStatus", {}).get("transitionStatus") == "InvalidSpec":
        return Failure(info.get("reason", "InvalidSpec"), info.get("message", "KServe refuses the spec"), final=True)
    return None


def _ingress(seen: Observed) -> Condition:
    weights = seen.routing.weights
    if seen.problem is not None:
        truth: Truth = "False" if seen.problem.final else "Unknown"
        return Condition("IngressReady", truth, seen.problem.reason, seen.problem.message)
    if sum(weights.values()) == 100 and seen.predictor in weights:
        return Condition("IngressReady", "True")
    if sum(weights.values()) == 100:
        return Condition("IngressReady", "Unknown", "Switching", f"{seen.routing.words}; {seen.predictor} has none yet")
    return Condition("IngressReady", "Unknown", "NoRoute", "no revision is ready to be routed to")


def _restarts(replicas: Sequence[Replica]) -> dict[str, int]:
    found: dict[str, int] = {}
    for replica in replicas:
        if replica.restarts:
            found[replica.revision] = found.get(replica.revision, 0) + replica.restarts
    return found
