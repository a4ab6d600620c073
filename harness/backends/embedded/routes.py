"""What Envoy is told, rendered from plain data: routes (RDS), clusters (CDS) and endpoints (EDS); no I/O here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.components.gateway import DRAINING, EDS, ROUTES, SERVED_BY, VERSION_HEADER, VERSION_HOST, file_source

_TYPE = "type.googleapis.com/envoy"
TRANSFORMER = "_transformer"  # no DNS-1123 label, so no revision can have this name
DEFAULT_TIMEOUT_S = 60
_MANY = 100_000


@dataclass(frozen=True)
class Route:
    """One host: its revisions' weights (percent; cluster name -> weight), or the one cluster of its transformer."""

    host: str
    weights: Mapping[str, int] = field(default_factory=dict)
    timeout_s: float = DEFAULT_TIMEOUT_S
    mirror_served_by: bool = True


def cluster_name(namespace: str, service: str, revision: str) -> str:
    """Envoy's cluster of a revision; its counters carry this name."""
    return f"{namespace}/{service}/{revision}"


def endpoint_file(cluster: str) -> str:
    """The file of a cluster's endpoints; a label has no '_', so the names stay distinct."""
    return f"{cluster.replace('/', '_')}.json"


def render_routes(routes: Iterable[Route]) -> tuple[str, str]:
    """The RDS file's text and its version, a digest of the content; equal routes give equal text."""
    hosts = [_virtual_host(route) for route in sorted(routes, key=lambda route: route.host)]
    version = hashlib.sha256(json.dumps(hosts, sort_keys=True).encode()).hexdigest()[:16]
    resource = {
        "@type": f"{_TYPE}.config.route.v3.RouteConfiguration",
        "name": ROUTES,
        "virtual_hosts": [*hosts, _version_host(version)],
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
        "routes": [{"match": {"prefix": "/"}, **_action(route)}],
    }


def _action(route: Route) -> dict[str, Any]:
    carrying = {cluster: weight for cluster, weight in sorted(route.weights.items()) if weight > 0}
    if not carrying:
        return {"direct_response": {"status": 503, "body": {"inline_string": "no revision is ready"}}}
    clusters = [_weighted(cluster, weight, route.mirror_served_by) for cluster, weight in carrying.items()]
    return {
        "route": {
            "weighted_clusters": {"clusters": clusters},
            "timeout": f"{route.timeout_s:g}s",
            "retry_policy": _retry_policy(),
        }
    }


def _weighted(cluster: str, weight: int, served_by: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": cluster, "weight": weight}
    if served_by:
        header = {"key": SERVED_BY, "value": cluster.rpartition("/")[2]}
        action = "OVERWRITE_IF_EXISTS_OR_ADD"
        entry["response_headers_to_add"] = [{"header": header, "append_action": action}]
    return entry


def _retry_policy() -> dict[str, Any]:
    """Retries only what surely never reached a model server: a retried answer would hide a failing revision.

    Their back-off bridges the moment in which the only replica of a revision is being started again.
    """
    return {
        "retry_on": "connect-failure,refused-stream",
        "num_retries": 8,
        "retry_back_off": {"base_interval": "0.02s", "max_interval": "0.25s"},
    }


def _version_host(version: str) -> dict[str, Any]:
    header = {"header": {"key": VERSION_HEADER, "value": version}}
    return {
        "name": VERSION_HOST,
        "domains": [VERSION_HOST],
        "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200}, "response_headers_to_add": [header]}],
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
