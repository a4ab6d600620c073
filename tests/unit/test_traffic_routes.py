"""What the gateway is told for a routing: names that keep a cluster's meaning, and nothing dropped while it is used."""

from __future__ import annotations

from typing import Any

import pytest

from harness.backends.assignment import HeaderSplit, UserSplit
from harness.backends.kubernetes import routes
from harness.backends.kubernetes.plan import Routing
from harness.backends.kubernetes.routes import Target
from harness.backends.kubernetes.world import GatewayRef

TARGET = Target(
    "model",
    "production-1",
    "model-production-1.example.com",
    GatewayRef("gateways", "ours"),
    {"run": "1"},
)
SPLIT = Routing(("v1", "v2"), {"v1": 90, "v2": 10})


def backends(route: dict[str, Any], rule: int = 0) -> list[tuple[str, int]]:
    return [(found["name"], found["weight"]) for found in route["spec"]["rules"][rule]["backendRefs"]]


def test_the_main_route_is_named_after_who_has_weight_in_order() -> None:
    """The j-th part after the service is the j-th backend, which is what a cluster's name counts."""
    route = routes.main_route(TARGET, Routing(("v1", "v2", "v3"), {"v2": 30, "v1": 70, "v3": 0}), 7)
    assert route["metadata"]["name"] == "model--v1--v2--7--route"
    assert backends(route) == [("model--v1", 70), ("model--v2", 30)]


def test_a_change_of_weights_keeps_the_route_and_a_change_of_who_has_any_does_not() -> None:
    """Envoy Gateway drops the cluster of a backend that loses its weight: that must be another route."""
    route = routes.main_route(TARGET, SPLIT, 1)
    assert routes.same_backends(route, Routing(("v1", "v2"), {"v1": 50, "v2": 50}))
    assert not routes.same_backends(route, Routing(("v1", "v2"), {"v1": 0, "v2": 100}))
    assert not routes.same_backends({}, SPLIT)


def test_every_backend_names_its_revision_in_the_answer() -> None:
    """The header tells the client and the access log who answered, and gives each backend a cluster of its own."""
    rule = routes.main_route(TARGET, SPLIT, 1)["spec"]["rules"][0]
    told = [ref["filters"][0]["responseHeaderModifier"]["set"][0] for ref in rule["backendRefs"]]
    assert told == [{"name": "x-served-by", "value": "v1"}, {"name": "x-served-by", "value": "v2"}]


def test_a_retired_route_matches_nothing_and_keeps_its_backends() -> None:
    """Its clusters stay until the new route is in effect."""
    route = routes.main_route(TARGET, SPLIT, 1)
    retired = routes.retired(route)
    assert backends(retired) == backends(route)
    assert retired["metadata"] == route["metadata"]
    (match,) = retired["spec"]["rules"][0]["matches"]
    assert match["headers"][0]["name"] == routes.RETIRED_HEADER
    assert routes.version_of(retired) != routes.version_of(route)


def test_what_is_asked_for_by_header_is_one_revision() -> None:
    """A revision can be reached before it has weight."""
    route = routes.alone_route(TARGET, SPLIT, "v2")
    (match,) = route["spec"]["rules"][0]["matches"]
    assert match["headers"] == [{"type": "Exact", "name": "x-rehearsal-revision", "value": "v2"}]
    assert backends(route) == [("model--v2", 1)]


def test_a_header_split_is_a_second_match_of_the_canarys_own_route() -> None:
    """The same cluster, so the counters stay those of the canary."""
    routing = Routing(("v1", "v2"), {"v1": 100, "v2": 0}, HeaderSplit("x-beta", "yes"), "v2")
    names = [m["headers"][0]["name"] for m in routes.alone_route(TARGET, routing, "v2")["spec"]["rules"][0]["matches"]]
    assert names == ["x-rehearsal-revision", "x-beta"]
    assert len(routes.alone_route(TARGET, routing, "v1")["spec"]["rules"][0]["matches"]) == 1


def test_a_user_split_hashes_the_header() -> None:
    """One user always meets one revision."""
    routing = Routing(("v1", "v2"), {"v1": 50, "v2": 50}, UserSplit("x-user-id"))
    policy = routes.traffic_policy(TARGET, routing, "x")
    assert policy["spec"]["loadBalancer"]["consistentHash"]["headers"] == [{"name": "x-user-id"}]
    assert "loadBalancer" not in routes.traffic_policy(TARGET, SPLIT, "x")["spec"]
    versions = {routes.version_of(routes.main_route(TARGET, each, 1)) for each in (routing, SPLIT)}
    assert len(versions) == 2, "a changed policy must be told from an unchanged one"


def test_only_what_never_reached_a_server_is_tried_again() -> None:
    """A retried answer would hide a failing revision."""
    retry = routes.traffic_policy(TARGET, SPLIT, "x")["spec"]["retry"]
    assert retry["retryOn"]["triggers"] == ["connect-failure", "refused-stream"]


def test_a_trial_reaches_every_cluster_alike() -> None:
    """Before a new route comes first, each of its clusters has to answer, the one with 1 % too."""
    routing = Routing(("v1", "v2"), {"v1": 99, "v2": 1})
    trial, route = routes.main_route(TARGET, routing, 1, trial=True), routes.main_route(TARGET, routing, 1)
    assert [weight for _, weight in backends(trial)] == [100, 100]
    assert [weight for _, weight in backends(route)] == [99, 1]
    assert trial["metadata"] == route["metadata"]
    names = [match.get("headers", [{}])[0].get("value") for match in trial["spec"]["rules"][0]["matches"]]
    assert names == [None, "model--v1--v2--1--route"], "asked by name, it answers while another route comes first"


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [
        ("httproute/production-1/model--v1--v2--3--route/rule/0/backend/1", ("production-1", "model", "v2")),
        ("httproute/production-1/model--v1--v2--12--route/rule/0/backend/0", ("production-1", "model", "v1")),
        ("httproute/production-1/model--v2--alone--route/rule/0/backend/0", ("production-1", "model", "v2")),
        ("httproute/production-1/model--v1--3--route/rule/0/backend/5", ("production-1", "model", "")),
        ("httproute/other/somebodys/rule/0/backend/0", ("other", "somebodys", "")),
        ("xds_cluster", ("", "", "")),
    ],
)
def test_a_cluster_tells_its_revision(cluster: str, expected: tuple[str, str, str]) -> None:
    """Whatever the weights were when Envoy counted."""
    assert routes.revision_of_cluster(cluster) == expected


def test_equal_routings_have_equal_versions_and_others_do_not() -> None:
    """The version says what is in effect."""
    one, same = routes.main_route(TARGET, SPLIT, 1), routes.main_route(TARGET, SPLIT, 1)
    other = routes.main_route(TARGET, Routing(("v1", "v2"), {"v1": 89, "v2": 11}), 1)
    assert routes.version_of(one) == routes.version_of(same) != routes.version_of(other)
