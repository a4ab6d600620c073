"""An Envoy on loopback that answers every request by itself: a server that costs the generator nothing to wait for."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.clients.http import client
from harness.components.gateway import envoy_binary
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog
from harness.runtime.ports import LOOPBACK, reserve
from harness.runtime.supervisor import Supervisor
from harness.runtime.wait import wait

PATH = "/v1/models/model:predict"
_TYPE = "type.googleapis.com/envoy.extensions"
_LOGGED = {
    "id": "%REQ(X-REQUEST-ID)%", "host": "%REQ(:AUTHORITY)%", "code": "%RESPONSE_CODE%", "flags": "%RESPONSE_FLAGS%",
    "cluster": "%UPSTREAM_CLUSTER%", "revision": "%RESP(X-SERVED-BY)%", "ms": "%DURATION%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
}  # fmt: skip


@dataclass(frozen=True)
class Server:
    """Where it listens, its access log, and who runs it."""

    url: str
    access_log: Path
    supervisor: Supervisor


@contextlib.contextmanager
def server(folder: Path) -> Iterator[Server]:
    """The server, until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    port, log, config = reserve(), folder / "access.jsonl", folder / "envoy.json"
    config.write_text(json.dumps(_config(port, log)), encoding="utf-8")
    argv = [str(envoy_binary()), "-c", str(config), "--disable-hot-restart", "--concurrency", "1"]
    with (
        contextlib.closing(EventLog(folder / "events.jsonl")) as events,
        Supervisor(folder, events) as supervisor,
        client(f"http://{LOOPBACK}:{port}") as http,
    ):
        child = supervisor.spawn("envoy", [*argv, "--file-flush-interval-msec", "100"])
        wait(lambda: http.post(PATH), what="envoy", deadline=Deadline.after(20), child=child)
        yield Server(f"http://{LOOPBACK}:{port}", log, supervisor)


def _config(port: int, log: Path) -> dict[str, Any]:
    route = {
        "match": {"prefix": "/"},
        "direct_response": {"status": 200, "body": {"inline_string": '{"predictions": [0.5]}'}},
        "response_headers_to_add": [{"header": {"key": "x-served-by", "value": "v1"}}],
    }
    manager = {
        "stat_prefix": "in",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        # The buffer waits for the request's end: Envoy closes a connection whose request it answered before that.
        "http_filters": [
            {"name": "buffer", **_typed("filters.http.buffer.v3.Buffer", {"max_request_bytes": 65536})},
            {"name": "router", **_typed("filters.http.router.v3.Router", {})},
        ],
        "access_log": [
            {
                "name": "file",
                **_typed(
                    "access_loggers.file.v3.FileAccessLog",
                    {"path": str(log), "log_format": {"json_format": _LOGGED}},
                ),
            }
        ],
    }
    http = _typed("filters.network.http_connection_manager.v3.HttpConnectionManager", manager)
    listener = {
        "address": {"socket_address": {"address": LOOPBACK, "port_value": port}},
        "filter_chains": [{"filters": [{"name": "http", **http}]}],
    }
    return {"node": {"id": "bench", "cluster": "bench"}, "static_resources": {"listeners": [listener]}}


def _typed(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"typed_config": {"@type": f"{_TYPE}.{kind}", **config}}
