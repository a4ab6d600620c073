"""The controller's decisions: from what is wanted and what is there to what to do next; pure functions.

Order that loses no request: a workload starts -> is ready -> gets its share; what has lost its share is retired only
while something else carries the traffic. What cannot become ready never takes traffic from what serves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from harness.backends.assignment import HeaderSplit, Split, UserSplit
from harness.backends.embedded.revisions import Desired, Workload

Address = tuple[str, int]
Key = tuple[str, str]
State = Literal["pending", "starting", "ready"]

MAX_RESTARTS = 5
FIRST_BACKOFF_S = 0.1
STEADY_S = 10.0
_SERVES_FIRST: tuple[State, ...] = ("ready", "starting", "pending")


@dataclass(frozen=True)
class ReplicaView:
    """One replica: which content of which workload, its address once it is ready, and why it has no place if so."""

    id: int
    workload: str
    digest: str
    state: State
    address: Address | None = None
    why: str = ""


@dataclass(frozen=True)
class Failure:
    """Deaths of one content in a row; `final` if another start is of no use; `retry_at` on the controller's clock."""

    count: int
    reason: str
    message: str
    final: bool
    retry_at: float


@dataclass(frozen=True)
class Routing:
    """What the gateway does for one service: addresses and weights (percent; their sum is 100 or 0) by workload.

    `split` assigns requests to the weights. `apart` is the canary that gets what a header chooses, or copies of
    `copies` percent of the requests.
    """

    endpoints: Mapping[str, frozenset[Address]] = field(default_factory=dict)
    weights: Mapping[str, int] = field(default_factory=dict)
    split: Split | None = None
    apart: str = ""
    copies: int = 0

    @property
    def words(self) -> str:
        """Who gets what, for people."""
        shares = [f"{name} {weight} %" for name, weight in self.weights.items()]
        if isinstance(self.split, UserSplit):
            shares.append(f"by the user in {self.split.header}")
        if isinstance(self.split, HeaderSplit) and self.apart:
            shares.append(f"{self.split.name}={self.split.value} to {self.apart}")
        if self.copies:
            shares.append(f"{self.copies} % copied to {self.apart}")
        return ", ".join(shares) or "none"

    def idle(self, standby: Address | None) -> bool:
        """Whether somebody's requests wait at `standby` for a replica."""
        return standby is not None and any(standby in found for found in self.endpoints.values())

    def exposes(self, workload: str) -> bool:
        """Whether requests, or copies of them, go to the workload."""
        return self.weights.get(workload, 0) > 0 or workload == self.apart


@dataclass(frozen=True)
class Plan:
    """What to do now: start one replica for each entry, route, then retire; look again at `wake_at` if set."""

    start: tuple[Workload, ...]
    routing: Routing
    retire: tuple[int, ...]
    wake_at: float | None = None


def plan(
    wanted: Desired | None,
    replicas: Sequence[ReplicaView],
    failures: Mapping[Key, Failure],
    current: Routing,
    now: float,
) -> Plan:
    """The next actions for one service; `wanted` is None when it was deleted."""
    if wanted is None:
        return Plan((), Routing(), tuple(replica.id for replica in replicas))
    start, wake_at = _starts(wanted, replicas, failures, now)
    surplus = frozenset(number for workload in wanted.workloads for number in _surplus(workload, replicas))
    kept = [replica for replica in replicas if replica.id not in surplus]
    routing = _routing(wanted, kept, failures, current)
    return Plan(start, routing, (*_outdated(wanted, kept, routing), *sorted(surplus)), wake_at)


def after_death(
    previous: Failure | None, *, lived_s: float, reason: str, message: str, final: bool, now: float
) -> Failure:
    """The failure record after one more death; a replica that lived long enough starts the count anew."""
    count = 1 if previous is None or lived_s >= STEADY_S else previous.count + 1
    if count > MAX_RESTARTS:
        return Failure(count, "CrashLoopBackOff", f"ended {count} times in a row, last: {message}", True, now)
    backoff = 0.0 if count == 1 else FIRST_BACKOFF_S * 2 ** (count - 2)
    return Failure(count, reason, message, final, now + backoff)


def is_ready(workload: Workload, replicas: Sequence[ReplicaView]) -> bool:
    """Whether as many replicas of this very content answer as it takes."""
    return len(_ready(replicas, workload.name, workload.digest)) >= workload.needed


def _starts(
    wanted: Desired, replicas: Sequence[ReplicaView], failures: Mapping[Key, Failure], now: float
) -> tuple[tuple[Workload, ...], float | None]:
    start: list[Workload] = []
    wakes: list[float] = []
    for workload in wanted.workloads:
        live = sum((replica.workload, replica.digest) == workload.key for replica in replicas)
        missing = max(0, workload.replicas - live)
        failure = failures.get(workload.key)
        if not missing or (failure and failure.final):
            continue
        if failure and failure.retry_at > now:
            wakes.append(failure.retry_at)
        else:
            start += [workload] * missing
    return tuple(start), min(wakes, default=None)


def _routing(
    wanted: Desired, replicas: Sequence[ReplicaView], failures: Mapping[Key, Failure], current: Routing
) -> Routing:
    endpoints = {w.name: _endpoints(w, replicas, failures, current) for w in wanted.workloads}
    if not endpoints[wanted.predictor.name]:
        return _carried(endpoints, replicas, current)
    weights = _weights(wanted, endpoints, replicas, current)
    alone = wanted.mirror_percent or isinstance(wanted.split, HeaderSplit)
    apart = next((name for name in wanted.percents if alone and name in weights), "")
    copies = wanted.mirror_percent if apart else 0
    return Routing(_filled(endpoints), weights, wanted.split, apart, copies)


def _filled(endpoints: Mapping[str, frozenset[Address]]) -> dict[str, frozenset[Address]]:
    return {name: found for name, found in endpoints.items() if found}


def _endpoints(
    workload: Workload, replicas: Sequence[ReplicaView], failures: Mapping[Key, Failure], current: Routing
) -> frozenset[Address]:
    """Old content serves until all of the new is ready; a lost last replica keeps its place until it is replaced."""
    fresh = _ready(replicas, workload.name, workload.digest)
    old = _ready(replicas, workload.name) - fresh
    if old and len(fresh) < workload.replicas:
        return old
    if not fresh and workload.standby is not None:
        return frozenset({workload.standby})
    failure = failures.get(workload.key)
    if fresh or failure is None or failure.final:
        return fresh
    return current.endpoints.get(workload.name, frozenset())


def _weights(
    wanted: Desired,
    endpoints: Mapping[str, frozenset[Address]],
    replicas: Sequence[ReplicaView],
    current: Routing,
) -> dict[str, int]:
    """The documented shares of the canaries that are ready; the predictor has the rest."""
    shares: dict[str, int] = {}
    for canary in wanted.canaries:
        alive = bool(_ready(replicas, canary.name))
        if alive and (current.exposes(canary.name) or is_ready(canary, replicas)) and endpoints[canary.name]:
            shares[canary.name] = wanted.percents[canary.name]
    return {wanted.predictor.name: 100 - sum(shares.values()), **shares}


def _carried(endpoints: Mapping[str, frozenset[Address]], replicas: Sequence[ReplicaView], current: Routing) -> Routing:
    """While the predictor cannot serve, those that serve go on, wanted or not."""
    alive = {name: _ready(replicas, name) for name in (*current.weights, current.apart)}
    weights = _to_hundred({name: weight for name, weight in current.weights.items() if alive[name] and weight > 0})
    apart = current.apart if alive[current.apart] and isinstance(current.split, HeaderSplit) else ""
    kept = {name: addresses for name, addresses in alive.items() if name in weights or name == apart}
    return Routing(_filled({**endpoints, **kept}), weights, current.split, apart)


def _to_hundred(weights: Mapping[str, int]) -> dict[str, int]:
    """Whole percents in the same proportions; what rounding leaves goes to the largest."""
    total = sum(weights.values())
    shares = {name: 100 * weight // total for name, weight in weights.items()}
    if shares:
        shares[max(shares, key=lambda name: shares[name])] += 100 - sum(shares.values())
    return shares


def _outdated(wanted: Desired, replicas: Sequence[ReplicaView], routing: Routing) -> list[int]:
    """Replicas of content that is not wanted any more, once nothing is routed to them."""
    used = {address for found in routing.endpoints.values() for address in found}
    keys = {workload.key for workload in wanted.workloads}
    return [
        replica.id
        for replica in replicas
        if (replica.workload, replica.digest) not in keys and not (replica.state == "ready" and replica.address in used)
    ]


def _surplus(workload: Workload, replicas: Sequence[ReplicaView]) -> list[int]:
    """Replicas of this content beyond the wanted number; what serves is kept first, then what is older."""
    same = [replica for replica in replicas if (replica.workload, replica.digest) == workload.key]
    ranked = sorted(same, key=lambda replica: (_SERVES_FIRST.index(replica.state), replica.id))
    return [replica.id for replica in ranked[workload.replicas :]]


def _ready(replicas: Sequence[ReplicaView], workload: str, digest: str | None = None) -> frozenset[Address]:
    return frozenset(
        replica.address
        for replica in replicas
        if replica.workload == workload
        and replica.state == "ready"
        and replica.address is not None
        and (digest is None or replica.digest == digest)
    )
