"""When requests have no healthy replica to go to: pure functions over what is routed and what is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.backends.embedded.planner import Address, Routing
from harness.backends.embedded.routes import TRANSFORMER

NOBODY = "any revision"


@dataclass(frozen=True)
class Outage:
    """Since when (Unix seconds) requests to `revisions` cannot be answered, and what brought it about."""

    since: float
    revisions: tuple[str, ...]
    cause: str

    @property
    def words(self) -> str:
        return f"no healthy replica of {', '.join(self.revisions)}: {self.cause}"


def unserved(routing: Routing, healthy: Mapping[str, frozenset[Address]], *, transformer: bool) -> tuple[str, ...]:
    """The workloads that requests go to while no healthy replica of theirs is routed; copies are nobody's requests."""
    asked = [name for name, weight in routing.weights.items() if weight > 0]
    if not asked:
        return (NOBODY,)
    if routing.apart and not routing.copies:
        asked.append(routing.apart)
    if transformer:
        asked.append(TRANSFORMER)
    nothing: frozenset[Address] = frozenset()
    return tuple(
        name.strip("_") for name in asked if not routing.endpoints.get(name, nothing) & healthy.get(name, nothing)
    )
