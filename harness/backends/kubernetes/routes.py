"""The HTTPRoutes and the BackendTrafficPolicy of a service, rendered from plain data; no I/O here.

The main route `<service>--<revision>--<revision>--<n>--route` splits the traffic between the revisions in its name; no
name comes back, because Envoy would take its clusters for those that are just going, and none has a dot, where Envoy's
counters would be cut. Envoy Gateway names a cluster after the route, the rule and the place of the backend in it, so a
name like this keeps one cluster from ever meaning two revisions. It also drops the cluster of a backend with weight 0 a
moment before the route stops using it, which loses requests. So a change of who has weight is a new main route beside
the old one, which takes over when each of its clusters has answered; then the old one is
`retired`: nothing matches it any more, but its clusters stay until the new one is in effect.

Each revision that is ready has a route of its own, which a request reaches with the header x-rehearsal-revision, or
with the header of a split.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.backends.assignment import HeaderSplit, UserSplit
from harness.backends.embedded.routes import DEFAULT_TIMEOUT_S
from harness.backends.kubernetes.entrances import PORT, entrance_name
from harness.backends.kubernetes.plan import Routing
from harness.backends.kubernetes.world import GatewayRef
from harness.components.gateway import SERVED_BY

ROUTE_KIND = "gateway.networking.k8s.io/v1/HTTPRoute"
POLICY_KIND = "gateway.envoyproxy.io/v1alpha1/BackendTrafficPolicy"
REVISION_HEADER = "x-rehearsal-revision"
"""Asks for one revision, whatever the weights are."""
VERSION_PATH = "/.rehearsal/route"
ROUTE_HEADER = "x-rehearsal-route"
"""Asks one main route, by its name, whichever route comes first: for its version, or for an answer of its clusters."""
VERSION_DOMAIN = "route.rehearsal.invalid"
RETIRED_HEADER = "x-rehearsal-retired"
"""Nobody sends it: what matches it keeps its clusters and gets no request."""
_SEPARATOR, _MARK, _ALONE = "--", "route", "alone"
_CLUSTER = re.compile(r"httproute/(?P<namespace>[^/]+)/(?P<route>[^/]+)/rule/\d+/backend/(?P<place>\d+)")
_MANY = 100_000


@dataclass(frozen=True)
class Target:
    """What one service's routes are made for."""

    service: str
    namespace: str
    host: str
    gateway: GatewayRef
    labels: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = DEFAULT_TIMEOUT_S


def weighted(routing: Routing) -> tuple[str, ...]:
    """The revisions with weight, in the order of the main route's backends."""
    return tuple(sorted(name for name, weight in routing.weights.items() if weight > 0))


def main_name(service: str, routing: Routing, number: int) -> str:
    """The main route's name: what clusters and counters carry. `number` makes it unique in the service's life."""
    return _SEPARATOR.join((service, *weighted(routing), str(number), _MARK))


def alone_name(service: str, revision: str) -> str:
    return _SEPARATOR.join((service, revision, _ALONE, _MARK))


def name_parts(route: str) -> tuple[str, tuple[str, ...]]:
    """(service, revisions) of a name of ours; the name itself and none for others."""
    service, *parts = route.split(_SEPARATOR)
    return (service, tuple(parts[:-2])) if parts[-1:] == [_MARK] else (route, ())


def main_route(target: Target, routing: Routing, number: int, *, trial: bool = False) -> dict[str, Any]:
    """The route of the weights; it tells its version at VERSION_PATH, policy included.

    A `trial` gives equal shares: before a new route comes first, each of its clusters must have answered.
    """
    name = main_name(target.service, routing, number)
    path = {"path": {"type": "PathPrefix", "value": "/"}}
    by_name = {**path, "headers": [{"type": "Exact", "name": ROUTE_HEADER, "value": name}]}
    weights = {revision: 100 if trial else routing.weights[revision] for revision in weighted(routing)}
    rule = {
        "matches": [path, by_name],
        "backendRefs": [_backend(target, revision, weight) for revision, weight in weights.items()],
        **_timeout(target),
    }
    return _with_version(_route(target, name, target.host, [rule]), str(routing.split))


def retired(route: Mapping[str, Any]) -> dict[str, Any]:
    """A main route that nothing matches any more, with the clusters that it had."""
    rule = route["spec"]["rules"][0]
    header = {"type": "Exact", "name": RETIRED_HEADER, "value": route["metadata"]["name"]}
    matches = [{"path": {"type": "PathPrefix", "value": "/"}, "headers": [header]}]
    spec = {**route["spec"], "rules": [{**rule, "matches": matches}]}
    return _with_version({**route, "spec": spec}, "retired")


def alone_route(target: Target, routing: Routing, revision: str) -> dict[str, Any]:
    """The route of one revision: for who asks for it, and for what a header sends to it.

    Gateway API puts a match with a header before one without, so it comes before the weights.
    """
    headers = [(REVISION_HEADER, revision)]
    if isinstance(routing.split, HeaderSplit) and routing.apart == revision:
        headers.append((routing.split.name, routing.split.value))
    matches = [
        {
            "path": {"type": "PathPrefix", "value": "/"},
            "headers": [{"type": "Exact", "name": name, "value": value}],
        }
        for name, value in headers
    ]
    rule = {"matches": matches, "backendRefs": [_backend(target, revision, 1)], **_timeout(target)}
    return _with_version(_route(target, alone_name(target.service, revision), target.host, [rule]))


def same_backends(old: Mapping[str, Any], routing: Routing) -> bool:
    """Whether a main route leads to the revisions that this routing gives weight to, so that it can be changed."""
    return bool(old) and name_parts(str(old["metadata"]["name"]))[1] == weighted(routing)


def version_of(route: Mapping[str, Any]) -> str:
    """What the gateway tells at VERSION_PATH once this route is in effect: the first label of Location's host."""
    redirect = route["spec"]["rules"][-1]["filters"][0]["requestRedirect"]
    return str(redirect["hostname"]).partition(".")[0]


def revision_of_cluster(cluster: str) -> tuple[str, str, str]:
    """(namespace, service, revision) of a cluster of ours; empty strings for others."""
    found = _CLUSTER.match(cluster)
    if found is None:
        return "", "", ""
    service, revisions = name_parts(found["route"])
    place = int(found["place"])
    return found["namespace"], service, revisions[place] if place < len(revisions) else ""


def _route(target: Target, name: str, host: str, rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": _metadata(target, name),
        "spec": {
            "parentRefs": [{"name": target.gateway.name, "namespace": target.gateway.namespace}],
            "hostnames": [host],
            "rules": rules,
        },
    }


def _with_version(route: dict[str, Any], more: str = "") -> dict[str, Any]:
    """The route with a last rule that tells a digest of the others, and of `more`."""
    rules = route["spec"]["rules"]
    version = hashlib.sha256(json.dumps([rules, more], sort_keys=True).encode()).hexdigest()[:16]
    rule = _version_rule(route["metadata"]["name"], version)
    return {**route, "spec": {**route["spec"], "rules": [*rules, rule]}}


def traffic_policy(target: Target, routing: Routing, name: str) -> dict[str, Any]:
    """Envoy's settings for a route of ours, as the embedded gateway has them: retries, limits, timeouts, hashing."""
    spec: dict[str, Any] = {
        "targetRefs": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": name}],
        # Only what surely never reached a model server: a retried answer would hide a failing revision.
        "retry": {
            "numRetries": 8,
            "retryOn": {"triggers": ["connect-failure", "refused-stream"]},
            "perRetry": {"backOff": {"baseInterval": "20ms", "maxInterval": "250ms"}},
        },
        "circuitBreaker": {
            "maxConnections": _MANY,
            "maxPendingRequests": _MANY,
            "maxParallelRequests": _MANY,
            "maxParallelRetries": _MANY,
        },
        # Below the model server's keep-alive of 65 s: it must never close a connection that Envoy is about to use.
        "timeout": {"tcp": {"connectTimeout": "1s"}, "http": {"connectionIdleTimeout": "30s"}},
        "healthCheck": {"panicThreshold": 0},
    }
    if isinstance(routing.split, UserSplit):
        header = {"type": "Headers", "headers": [{"name": routing.split.header}]}
        spec["loadBalancer"] = {"type": "ConsistentHash", "consistentHash": header}
    return {
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "BackendTrafficPolicy",
        "metadata": _metadata(target, name),
        "spec": spec,
    }


def _backend(target: Target, revision: str, weight: int) -> dict[str, Any]:
    header = {"name": SERVED_BY, "value": revision}
    return {
        "name": entrance_name(target.service, revision),
        "port": PORT,
        "weight": weight,
        "filters": [{"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [header]}}],
    }


def _version_rule(name: str, version: str) -> dict[str, Any]:
    match = {
        "path": {"type": "Exact", "value": VERSION_PATH},
        "headers": [{"type": "Exact", "name": ROUTE_HEADER, "value": name}],
    }
    redirect = {"hostname": f"{version}.{VERSION_DOMAIN}", "statusCode": 302}
    return {
        "matches": [match],
        "filters": [{"type": "RequestRedirect", "requestRedirect": redirect}],
    }


def _timeout(target: Target) -> dict[str, Any]:
    return {"timeouts": {"request": f"{target.timeout_s:g}s"}}


def _metadata(target: Target, name: str) -> dict[str, Any]:
    return {"name": name, "namespace": target.namespace, "labels": dict(target.labels)}
