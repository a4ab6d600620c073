"""What Envoy is told, from plain data."""

from __future__ import annotations

import json
from typing import Any

from harness.backends.embedded.routes import (
    TRANSFORMER,
    Match,
    Route,
    cluster_name,
    endpoint_file,
    render_clusters,
    render_endpoints,
    render_routes,
)

HOST = "risk-production.example.com"
V1, V2 = (cluster_name("production", "risk", revision) for revision in ("v1", "v2"))


def hosts(*routes: Route) -> dict[str, Any]:
    resource = json.loads(render_routes(routes)[0])["resources"][0]
    return {host["name"]: host for host in resource["virtual_hosts"]}


def test_weights_are_kserves_percentages() -> None:
    """90 and 10 are 90 and 10, and each answer names its revision."""
    route = hosts(Route(HOST, {V1: 90, V2: 10}))[HOST]["routes"][0]["route"]
    entries = route["weighted_clusters"]["clusters"]
    assert {entry["name"]: entry["weight"] for entry in entries} == {V1: 90, V2: 10}
    assert [entry["response_headers_to_add"][0]["header"]["value"] for entry in entries] == ["v1", "v2"]


def test_a_weight_of_zero_is_no_cluster() -> None:
    """A rolled back canary cannot be chosen."""
    route = hosts(Route(HOST, {V1: 100, V2: 0}))[HOST]["routes"][0]["route"]
    assert [entry["name"] for entry in route["weighted_clusters"]["clusters"]] == [V1]


def test_a_service_without_a_ready_revision_answers_503_and_not_404() -> None:
    """Its host exists."""
    assert hosts(Route(HOST))[HOST]["routes"][0]["direct_response"]["status"] == 503


def test_sticky_weights_are_chosen_by_the_hash_of_the_users_header() -> None:
    """The weights stay what they are; who gets which one depends on the header alone."""
    route = hosts(Route(HOST, {V1: 80, V2: 20}, hash_header="x-user-id"))[HOST]["routes"][0]["route"]
    assert route["weighted_clusters"]["use_hash_policy"] is True
    assert sum(entry["weight"] for entry in route["weighted_clusters"]["clusters"]) == 100
    assert route["hash_policy"] == [{"header": {"header_name": "x-user-id"}}]


def test_a_header_that_chooses_the_canary_comes_before_the_weights() -> None:
    """The first route that matches is taken; the canary's answers name it too."""
    chosen, others = hosts(Route(HOST, {V1: 100, V2: 0}, match=Match("x-variant", "b", V2)))[HOST]["routes"]
    assert chosen["match"]["headers"] == [{"name": "x-variant", "string_match": {"exact": "b"}}]
    assert [entry["name"] for entry in chosen["route"]["weighted_clusters"]["clusters"]] == [V2]
    assert "headers" not in others["match"]
    assert [entry["name"] for entry in others["route"]["weighted_clusters"]["clusters"]] == [V1]


def test_copies_go_to_the_gateway_itself() -> None:
    """So that they are logged and counted like every request; without copies there is no policy."""
    mirroring, plain = (hosts(Route(HOST, {V1: 100}, copies=n))[HOST]["routes"][0]["route"] for n in (25, 0))
    (policy,) = mirroring["request_mirror_policies"]
    assert policy["cluster"] == "mirror"
    assert policy["runtime_fraction"]["default_value"] == {"numerator": 25, "denominator": "HUNDRED"}
    assert "request_mirror_policies" not in plain


def test_answers_of_a_model_server_are_never_asked_for_again() -> None:
    """A retried 500 would hide a failing canary from its verdict."""
    policy = hosts(Route(HOST, {V1: 100}))[HOST]["routes"][0]["route"]["retry_policy"]
    assert set(policy["retry_on"].split(",")) == {"connect-failure", "refused-stream", "retriable-headers"}
    assert policy["retriable_headers"] == [{"name": "x-rehearsal-held", "present_match": True}], "the activator's own"


def test_equal_routes_have_one_version_and_different_ones_have_two() -> None:
    """The version is how a change is confirmed; the order of services does not matter."""
    one, two = Route(HOST, {V1: 90, V2: 10}), Route("a-b.example.com", {V1: 100})
    assert render_routes([one, two]) == render_routes([two, one])
    assert render_routes([one])[1] != render_routes([Route(HOST, {V1: 89, V2: 11})])[1]


def test_an_endpoint_that_drains_is_listed_as_draining() -> None:
    """Listed, because Envoy forgets the requests of what it is not told of; draining, so that it gets no more."""
    assignment = json.loads(render_endpoints(V1, {("127.0.0.1", 1)}, {("127.0.0.1", 2)}))["resources"][0]
    entries = assignment["endpoints"][0]["lb_endpoints"]
    ports = [entry["endpoint"]["address"]["socket_address"]["port_value"] for entry in entries]
    assert dict(zip(ports, (entry["health_status"] for entry in entries), strict=True)) == {1: "HEALTHY", 2: "DRAINING"}


def test_endpoint_files_of_different_clusters_differ() -> None:
    """Labels may hold '-', so '-' must not join them."""
    clusters = [("a-b", "c", "d"), ("a", "b-c", "d"), ("a", "b", "c-d")]
    assert len({endpoint_file(cluster_name(*cluster)) for cluster in clusters}) == 3
    assert "/" not in endpoint_file(cluster_name("a", "b", TRANSFORMER))


def test_a_clusters_endpoints_come_from_its_own_file() -> None:
    """So a replica comes and goes without a new cluster, whose counters would start at 0."""
    cluster = json.loads(render_clusters([V1], "/run/envoy"))["resources"][0]
    path = cluster["eds_cluster_config"]["eds_config"]["path_config_source"]["path"]
    assert path == f"/run/envoy/xds/eds/{endpoint_file(V1)}"
    endpoints = json.loads(render_endpoints(V1, [("127.0.0.1", 8001)]))["resources"][0]["endpoints"]
    assert endpoints[0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]["port_value"] == 8001


def test_a_cluster_is_used_by_weight_even_of_zero_and_by_header() -> None:
    """What a route may send requests to must not be forgotten."""
    assert Route(HOST, {V1: 100, V2: 0}).uses(V2)
    assert Route(HOST, {V1: 100}, match=Match("x-variant", "b", V2)).uses(V2)
    assert not Route(HOST, {V1: 100}).uses(V2)
