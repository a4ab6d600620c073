"""When requests have no healthy replica to go to."""

from __future__ import annotations

from harness.backends.assignment import HeaderSplit
from harness.backends.embedded.outage import NOBODY, unserved
from harness.backends.embedded.planner import Address, Routing
from harness.backends.embedded.routes import TRANSFORMER

A, B, C = (("127.0.0.1", port) for port in (1, 2, 3))
BOTH = {"v1": frozenset({A}), "v2": frozenset({B})}


def missing(routing: Routing, *healthy: tuple[str, Address], transformer: bool = False) -> tuple[str, ...]:
    return unserved(routing, {name: frozenset({address}) for name, address in healthy}, transformer=transformer)


def test_a_revision_with_a_share_needs_a_healthy_replica_that_is_routed() -> None:
    """One that is healthy and not yet routed to helps nobody."""
    routing = Routing(BOTH, {"v1": 90, "v2": 10})
    assert missing(routing, ("v1", A), ("v2", B)) == ()
    assert missing(routing, ("v1", A)) == ("v2",)
    assert missing(routing, ("v1", C), ("v2", B)) == ("v1",)
    assert missing(routing) == ("v1", "v2")


def test_a_revision_without_requests_needs_nobody() -> None:
    """A weight of 0, or only copies: no client waits for an answer."""
    assert missing(Routing(BOTH, {"v1": 100, "v2": 0}), ("v1", A)) == ()
    assert missing(Routing(BOTH, {"v1": 100, "v2": 0}, apart="v2", copies=100), ("v1", A)) == ()


def test_what_a_header_chooses_must_be_served_too() -> None:
    """The requests with the header have nowhere else to go."""
    routing = Routing(BOTH, {"v1": 100, "v2": 0}, HeaderSplit("x", "b"), "v2")
    assert missing(routing, ("v1", A)) == ("v2",)


def test_without_any_weight_nobody_is_served() -> None:
    """The gateway answers 503 itself."""
    assert missing(Routing()) == (NOBODY,)


def test_a_transformer_stands_before_them_all() -> None:
    """Its name has no place in words for people."""
    routing = Routing({**BOTH, TRANSFORMER: frozenset({C})}, {"v1": 100})
    assert missing(routing, ("v1", A), (TRANSFORMER, C), transformer=True) == ()
    assert missing(routing, ("v1", A), transformer=True) == ("transformer",)
