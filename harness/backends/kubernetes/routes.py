"""The HTTPRoute and the BackendTrafficPolicy of a service, rendered from plain data; no I/O here.

An HTTPRoute's name ends with the revisions that it lists, in order: `<service>.<revision>.<revision>`. Envoy Gateway
names a cluster after the route, the rule and the place of the backend in it, so a name like this keeps one cluster
from ever meaning two revisions: a change of who is listed is a new route beside the old one, which is then removed.

Rule 0 has the weights; rule 1 + i is that of the i-th revision alone, which a request reaches with the header
x-rehearsal-revision or with the header of a split; the last rule tells the version of the route in effect.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.backends.assignment import HeaderSplit, UserSplit
from harness.backends.embedded.routes import DEFAULT_TIMEOUT_S
from harness.backends.kubernetes.applied import workload_name
from harness.backends.kubernetes.plan import Routing
from harness.backends.kubernetes.world import GatewayRef
from harness.components.gateway import SERVED_BY, SHADOW

ROUTE_KIND = "gateway.networking.k8s.io/v1/HTTPRoute"
POLICY_KIND = "gateway.envoyproxy.io/v1alpha1/BackendTrafficPolicy"
REVISION_HEADER = "x-rehearsal-revision"
"""Asks for one revision, whatever the weights are."""
VERSION_PATH = "/.rehearsal/route"
ROUTE_HEADER = "x-rehearsal-route"
"""With VERSION_PATH: asks one route, by its name, for its version."""
VERSION_DOMAIN = "route.rehearsal.invalid"
COPIES_ROUTE = "shadow--copies"
PORT = 80
_MANY = 100_000


@dataclass(frozen=True)
class Target:
    """What one service's routes are made for; `gateway_service` takes the mirrored copies back to the gateway."""

    service: str
    namespace: str
    host: str
    gateway: GatewayRef
    labels: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = DEFAULT_TIMEOUT_S
    gateway_service: tuple[str, str, int] | None = None


def route_name(service: str, routing: Routing) -> str:
    """The HTTPRoute's name: what cluster and counters carry."""
    return ".".join((service, *routing.listed))


def http_route(target: Target, routing: Routing) -> dict[str, Any]:
    """The HTTPRoute of a routing. Listed revisions must be ready: Envoy answers 500 for a backend that is not there."""
    rules = [_weighted(target, routing), *(_alone(target, routing, name) for name in routing.listed)]
    version = hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()[:16]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": _metadata(target, route_name(target.service, routing)),
        "spec": {
            "parentRefs": [{"name": target.gateway.name, "namespace": target.gateway.namespace}],
            "hostnames": [target.host],
            "rules": [*rules, _version_rule(route_name(target.service, routing), version)],
        },
    }


def version_of(route: Mapping[str, Any]) -> str:
    """What the gateway tells at VERSION_PATH once this route is in effect: the first label of Location's host."""
    redirect = route["spec"]["rules"][-1]["filters"][0]["requestRedirect"]
    return str(redirect["hostname"]).partition(".")[0]


def shadow_route(target: Target, routing: Routing) -> dict[str, Any] | None:
    """The route of mirrored copies, which come back to the gateway for the host with "-shadow" behind it."""
    if not routing.copies:
        return None
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": _metadata(target, shadow_name(target.service, routing.apart)),
        "spec": {
            "parentRefs": [{"name": target.gateway.name, "namespace": target.gateway.namespace}],
            "hostnames": [f"{target.host}{SHADOW}"],
            "rules": [{"backendRefs": [_backend(target, routing.apart, 1)], **_timeout(target)}],
        },
    }


def shadow_name(service: str, revision: str) -> str:
    """The name of the copies' route; its place 0 is the revision, as in the names of the other routes."""
    return f"{service}.{revision}.{COPIES_ROUTE}"


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
        header = {"type": "Header", "headers": [{"name": routing.split.header}]}
        spec["loadBalancer"] = {"type": "ConsistentHash", "consistentHash": header}
    return {
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "BackendTrafficPolicy",
        "metadata": _metadata(target, name),
        "spec": spec,
    }


def _weighted(target: Target, routing: Routing) -> dict[str, Any]:
    rule: dict[str, Any] = {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}], **_timeout(target)}
    if sum(routing.weights.values()):
        weights = routing.weights
        rule["backendRefs"] = [_backend(target, name, weights.get(name, 0)) for name in routing.listed]
    if routing.copies and target.gateway_service is not None:
        namespace, name, port = target.gateway_service
        mirror = {"backendRef": {"namespace": namespace, "name": name, "port": port}, "percent": routing.copies}
        rule["filters"] = [{"type": "RequestMirror", "requestMirror": mirror}]
    return rule


def _alone(target: Target, routing: Routing, revision: str) -> dict[str, Any]:
    """The rule of one revision: for who asks for it, and for what a header sends to it.

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
    return {"matches": matches, "backendRefs": [_backend(target, revision, 1)], **_timeout(target)}


def _backend(target: Target, revision: str, weight: int) -> dict[str, Any]:
    header = {"name": SERVED_BY, "value": revision}
    return {
        "name": workload_name(target.service, revision),
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
