"""What Envoy is told, rendered from plain data: routes (RDS), clusters (CDS) and endpoints (EDS); no I/O here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.components.gateway import (
    DRAINING,
    EDS,
    HELD_HEADER,
    MIRROR,
    ROUTES,
    SERVED_BY,
    SHADOW,
    VERSION_HEADER,
    VERSION_HOST,
    asked_by,
    asked_by_anybody,
    file_source,
)

_TYPE = "type.googleapis.com/envoy"
TRANSFORMER = "_transformer"  # no DNS-1123 label, so no revision can have this name
DEFAULT_TIMEOUT_S = 60
_MANY = 100_000


@dataclass(frozen=True)
class Match:
    """Requests whose header `name` is exactly `value` go to `cluster`, whatever the weights are."""

    name: str
    value: str
    cluster: str


@dataclass(frozen=True)
class Route:
    """One host: its revisions' weights (percent; cluster name -> weight), or the one cluster of its transformer.

    With `hash_header` the weights are shares of that header's values; a request without it is drawn. `copies` percent
    of the requests are sent to the gateway once more, for the host with "-shadow" behind it, and nobody waits for them.
    `clients` are those whose API keys are taken; None where the gateway asks for no key.
    """

    host: str
    weights: Mapping[str, int] = field(default_factory=dict)
    timeout_s: float = DEFAULT_TIMEOUT_S
    tells_revision: bool = True
    hash_header: str = ""
    match: Match | None = None
    copies: int = 0
    clients: tuple[str, ...] | None = None

    def uses(self, cluster: str) -> bool:
        """Whether requests may go to a cluster by this route."""
        return cluster in self.weights or (self.match is not None and self.match.cluster == cluster)


def cluster_name(namespace: str, service: str, revision: str) -> str:
    """Envoy's cluster of a revision; its counters carry this name."""
    return f"{namespace}/{service}/{revision}"


def shadow_host(host: str) -> str:
    """The host of a mirrored copy, as Envoy makes it."""
    return f"{host}{SHADOW}"


def endpoint_file(cluster: str) -> str:
    """The file of a cluster's endpoints; a label has no '_', so the names stay distinct."""
    return f"{cluster.replace('/', '_')}.json"


def render_routes(routes: Iterable[Route], *, keys: bool = False) -> tuple[str, str]:
    """The RDS file's text and its version, a digest of the content; equal routes give equal text.

    `keys`: the gateway asks for API keys.
    """
    hosts = [_virtual_host(route) for route in sorted(routes, key=lambda route: route.host)]
    version = hashlib.sha256(json.dumps(hosts, sort_keys=True).encode()).hexdigest()[:16]
    resource = {
        "@type": f"{_TYPE}.config.route.v3.RouteConfiguration",
        "name": ROUTES,
        "virtual_hosts": [*hosts, _version_host(version, keys=keys)],
    }
    return json.dumps({"version_info": version, "resources": [resource]}, indent=1), version


def render_clusters(clusters: Iterable[str], folder: str) -> str:
    """The CDS file's text; the endpoints of each cluster come from its own file below `folder`."""
    resources = [_cluster(name, folder) for name in sorted(clusters)]
    return json.dumps({"resources": resources}, indent=1)


def render_endpoints(
    cluster: str, addresses: Iterable[tuple[str, int]], draining: Iterable[tuple[str, int]] = ()
) -> str:
    """The EDS file's text of one cluster; a draining endpoint gets no request, and ends those that it has."""
    endpoints = [_endpoint(address, "HEALTHY") for address in sorted(addresses)]
    endpoints += [_endpoint(address, DRAINING) for address in sorted(draining)]
    assignment = {
        "@type": f"{_TYPE}.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": cluster,
        "endpoints": [{"lb_endpoints": endpoints}],
    }
    return json.dumps({"resources": [assignment]}, indent=1)


def _endpoint(address: tuple[str, int], health: str) -> dict[str, Any]:
    host, port = address
    return {
        "endpoint": {"address": {"socket_address": {"address": host, "port_value": port}}},
        "health_status": health,
    }


def _virtual_host(route: Route) -> dict[str, Any]:
    return {
        "name": route.host,
        "domains": [route.host, f"{route.host}:*"],
        "routes": [*_matched(route), {"match": {"prefix": "/"}, **_action(route, route.weights)}],
        **({} if route.clients is None else {"typed_per_filter_config": asked_by(route.clients)}),
    }


def _matched(route: Route) -> list[dict[str, Any]]:
    if route.match is None:
        return []
    header = {"name": route.match.name, "string_match": {"exact": route.match.value}}
    return [{"match": {"prefix": "/", "headers": [header]}, **_action(route, {route.match.cluster: 100})}]


def _action(route: Route, weights: Mapping[str, int]) -> dict[str, Any]:
    carrying = {cluster: weight for cluster, weight in sorted(weights.items()) if weight > 0}
    if not carrying:
        return {"direct_response": {"status": 503, "body": {"inline_string": "no revision is ready"}}}
    clusters = [_weighted(cluster, weight, route.tells_revision) for cluster, weight in carrying.items()]
    chosen: dict[str, Any] = {"weighted_clusters": {"clusters": clusters}}
    if route.hash_header:
        chosen["weighted_clusters"]["use_hash_policy"] = True
        chosen["hash_policy"] = [{"header": {"header_name": route.hash_header}}]
    return {
        "route": {
            **chosen,
            "timeout": f"{route.timeout_s:g}s",
            "retry_policy": _retry_policy(),
            **_mirrored(route.copies),
        }
    }


def _mirrored(percent: int) -> dict[str, Any]:
    if not percent:
        return {}
    share = {"default_value": {"numerator": percent, "denominator": "HUNDRED"}}
    return {"request_mirror_policies": [{"cluster": MIRROR, "runtime_fraction": share}]}


def _weighted(cluster: str, weight: int, served_by: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": cluster, "weight": weight}
    if served_by:
        header = {"key": SERVED_BY, "value": cluster.rpartition("/")[2]}
        action = "OVERWRITE_IF_EXISTS_OR_ADD"
        entry["response_headers_to_add"] = [{"header": header, "append_action": action}]
    return entry


def _retry_policy() -> dict[str, Any]:
    """Retries only what surely never reached a model server: a retried answer would hide a failing revision.

    Their back-off bridges the moment in which the only replica of a revision is being started again. What the activator
    has held comes back with its header, and goes to the replica that is there now.
    """
    return {
        "retry_on": "connect-failure,refused-stream,retriable-headers",
        "retriable_headers": [{"name": HELD_HEADER, "present_match": True}],
        "num_retries": 8,
        "retry_back_off": {"base_interval": "0.02s", "max_interval": "0.25s"},
    }


def _version_host(version: str, *, keys: bool) -> dict[str, Any]:
    header = {"header": {"key": VERSION_HEADER, "value": version}}
    return {
        "name": VERSION_HOST,
        "domains": [VERSION_HOST],
        "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200}, "response_headers_to_add": [header]}],
        **({"typed_per_filter_config": asked_by_anybody()} if keys else {}),
    }


def _cluster(name: str, folder: str) -> dict[str, Any]:
    limits = {"max_connections": _MANY, "max_pending_requests": _MANY, "max_requests": _MANY, "max_retries": _MANY}
    return {
        "@type": f"{_TYPE}.config.cluster.v3.Cluster",
        "name": name,
        "type": "EDS",
        "eds_cluster_config": {"eds_config": file_source(f"{folder}/{EDS}/{endpoint_file(name)}")},
        "connect_timeout": "1s",
        "lb_policy": "ROUND_ROBIN",
        # However many endpoints drain: Envoy would otherwise take "few are healthy" as a reason to use all of them.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "circuit_breakers": {"thresholds": [limits]},
        "typed_extension_protocol_options": _http_options(),
    }


def _http_options() -> dict[str, Any]:
    kind = f"{_TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {
        kind.partition("/")[2]: {
            "@type": kind,
            # Below the model server's keep-alive of 65 s: it must never close a connection that Envoy is about to use.
            "common_http_protocol_options": {"idle_timeout": "30s"},
            "explicit_http_config": {"http_protocol_options": {}},
        }
    }
