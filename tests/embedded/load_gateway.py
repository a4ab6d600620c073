"""A real Envoy for the tests of the load generator, and how long to let a load run."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.clients.http import client
from harness.lifecycle.slo import SLO
from harness.load import Load, LoadSpec
from harness.load.crew import Processes
from harness.load.records import RECORD
from harness.load.shapes import Shape
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog
from harness.runtime.ports import reserve
from harness.runtime.supervisor import Supervisor
from harness.runtime.wait import wait

NUMBERS = itertools.count(1)
EXTENSIONS = "type.googleapis.com/envoy.extensions"
LOG_FIELDS = {
    "start": "%START_TIME%", "id": "%REQ(X-REQUEST-ID)%", "path": "%REQ(:PATH)%", "code": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%", "cluster": "%UPSTREAM_CLUSTER%", "revision": "%RESP(X-SERVED-BY)%",
    "ms": "%DURATION%", "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "user": "%REQ(X-USER-ID)%",
}  # fmt: skip


def processes(load: Load) -> Processes:
    """The generators of a load on this machine."""
    assert isinstance(load._crew, Processes)
    return load._crew


@dataclass
class Gateway:
    """An Envoy that answers by itself: /v1 as revision v1, /slow after a second; /dead leads to a closed port."""

    url: str
    access_log: Path
    supervisor: Supervisor
    folder: Path
    argv: list[str]

    def load(self, shape: Shape, slo: SLO | None = None, **fields: Any) -> Load:
        payload = self.folder / "payload.jsonl"
        payload.write_text('{"instances": [[1]]}\n{"instances": [[2]]}\n')
        spec = LoadSpec("test", self.url, "model.example.com", "/v1", payload, shape, max_s=30)
        folder = self.folder / f"load-{next(NUMBERS)}"
        return Load(replace(spec, **fields), folder, self.supervisor, self.access_log, slo=slo)

    def start(self) -> None:
        child = self.supervisor.spawn("envoy", self.argv)
        with client(self.url) as http:
            wait(lambda: http.post("/v1"), what="envoy", deadline=Deadline.after(20), child=child)

    def kill(self) -> None:
        (child,) = (each for each in self.supervisor.children() if each.name == "envoy" and each.poll() is None)
        child.kill()
        wait(self.deaths, what="the death to be noticed", deadline=Deadline.after(5))

    def deaths(self) -> list[float]:
        return [death.at for death in self.supervisor.deaths if death.name == "envoy"]


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Gateway]:
    """The gateway, until the block ends."""
    envoy = shutil.which("envoy", path=str(Path(sys.executable).parent))
    assert envoy is not None
    port, log = reserve(), folder / "access.jsonl"
    config = folder / "envoy.json"
    config.write_text(json.dumps(_config(port, log)))
    argv = [envoy, "-c", str(config), "--disable-hot-restart", "--concurrency", "1"]
    argv += ["--file-flush-interval-msec", "250"]
    with (
        contextlib.closing(EventLog(folder / "events.jsonl")) as events,
        Supervisor(folder, events) as supervisor,
    ):
        gateway = Gateway(f"http://127.0.0.1:{port}", log, supervisor, folder, argv)
        gateway.start()
        yield gateway


def run_for(load: Load, seconds: float) -> Any:
    """Let the load run for its time, measured by its own records."""
    wait_for(load, seconds)
    return load.stop(Deadline.after(15))


def wait_for(load: Load, seconds: float) -> None:
    wanted = load.spec.shape.requests(seconds) * RECORD.size / load.spec.shares
    wait(
        lambda: load.files.records(0).stat().st_size >= wanted,
        what="records",
        deadline=Deadline.after(seconds + 10),
        every_s=0.05,
    )


def rows(ledger: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    return list(pq.read_table(ledger).to_pylist())


def _config(port: int, log: Path) -> dict[str, Any]:
    served = [{"header": {"key": "x-served-by", "value": "v1"}}]
    answer = {"status": 200, "body": {"inline_string": '{"predictions": [0.5]}'}}
    delay = {
        "@type": f"{EXTENSIONS}.filters.http.fault.v3.HTTPFault",
        "delay": {"fixed_delay": "1s", "percentage": {"numerator": 100}},
    }
    routes = [
        {"match": {"path": "/v1"}, "direct_response": answer, "response_headers_to_add": served},
        {
            "match": {"path": "/slow"},
            "direct_response": answer,
            "response_headers_to_add": served,
            "typed_per_filter_config": {"envoy.filters.http.fault": delay},
        },
        {"match": {"path": "/dead"}, "route": {"cluster": "dead"}},
    ]
    fault = {"@type": f"{EXTENSIONS}.filters.http.fault.v3.HTTPFault"}
    # Envoy closes a connection whose request it answered before its end; as in the gateway, the buffer waits for that.
    buffer = {"@type": f"{EXTENSIONS}.filters.http.buffer.v3.Buffer", "max_request_bytes": 65536}
    router = {"@type": f"{EXTENSIONS}.filters.http.router.v3.Router"}
    manager = {
        "@type": f"{EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
            {"name": "envoy.filters.http.buffer", "typed_config": buffer},
            {"name": "envoy.filters.http.fault", "typed_config": fault},
            {"name": "envoy.filters.http.router", "typed_config": router},
        ],
        "access_log": [
            {
                "name": "envoy.access_loggers.file",
                "typed_config": {
                    "@type": f"{EXTENSIONS}.access_loggers.file.v3.FileAccessLog",
                    "path": str(log),
                    "log_format": {"json_format": LOG_FIELDS},
                },
            }
        ],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    nobody = _endpoint("dead", reserve())
    dead = {"name": "dead", "connect_timeout": "0.2s", "type": "STATIC", "load_assignment": nobody}
    return {
        "node": {"id": "test", "cluster": "test"},
        "static_resources": {
            "listeners": [{"address": _address(port), "filter_chains": [chain]}],
            "clusters": [dead],
        },
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _endpoint(name: str, port: int) -> dict[str, Any]:
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}]}
