"""The load generator and its ledger against a real Envoy: the rate is kept, every request is explained."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from harness.clients.http import client
from harness.errors import LoadFailed, PlatformError
from harness.load import Load, LoadSpec
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog
from harness.runtime.ports import reserve
from harness.runtime.supervisor import Supervisor
from harness.runtime.wait import wait

EXTENSIONS = "type.googleapis.com/envoy.extensions"
LOG_FIELDS = {
    "start": "%START_TIME%", "id": "%REQ(X-REQUEST-ID)%", "path": "%REQ(:PATH)%", "code": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%", "cluster": "%UPSTREAM_CLUSTER%", "revision": "%RESP(X-SERVED-BY)%",
    "ms": "%DURATION%", "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
}  # fmt: skip


@dataclass
class Gateway:
    """An Envoy that answers by itself: /v1 as revision v1, /slow after a second; /dead leads to a closed port."""

    url: str
    access_log: Path
    supervisor: Supervisor
    folder: Path

    def load(self, **fields: Any) -> Load:
        payload = self.folder / "payload.jsonl"
        payload.write_text('{"instances": [[1]]}\n{"instances": [[2]]}\n')
        spec = LoadSpec("test", self.url, "model.example.com", "/v1", payload, max_s=30)
        return Load(replace(spec, **fields), self.folder / "load", self.supervisor, self.access_log)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    envoy = shutil.which("envoy", path=str(Path(sys.executable).parent))
    assert envoy is not None
    port, log = reserve(), tmp_path / "access.jsonl"
    config = tmp_path / "envoy.json"
    config.write_text(json.dumps(_config(port, log)))
    argv = [envoy, "-c", str(config), "--disable-hot-restart", "--concurrency", "1", "--file-flush-interval-msec", "50"]
    with (
        contextlib.closing(EventLog(tmp_path / "events.jsonl")) as events,
        Supervisor(tmp_path, events) as supervisor,
        client(f"http://127.0.0.1:{port}") as http,
    ):
        child = supervisor.spawn("envoy", argv)
        wait(lambda: http.post("/v1"), what="envoy", deadline=Deadline.after(20), child=child)
        yield Gateway(f"http://127.0.0.1:{port}", log, supervisor, tmp_path)


def test_the_rate_is_kept_and_every_request_is_explained(gateway: Gateway) -> None:
    """200 requests a second for 3 seconds: within 2 %, one class, nothing unexplained."""
    load = gateway.load(rps=200)
    load.start(Deadline.after(30))
    ledger = run_for(load, 3.0)
    assert ledger.achieved_rps == pytest.approx(200, rel=0.02)
    assert ledger.sent >= 500
    assert ledger.classes == {"answered:v1": ledger.sent}
    assert (ledger.unexplained, ledger.examples) == (0, ())
    assert ledger.latency[0].revision == "v1"
    assert 0 < ledger.latency[0].p50_ms <= ledger.latency[0].p99_ms
    assert sum(point["requests"] for point in ledger.series) == ledger.sent
    assert rows(ledger.path) == ledger.sent


def test_a_line_missing_from_the_access_log_is_unexplained(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody removed three lines of the gateway's log, and added one for a request that nobody sent."""
    monkeypatch.setattr("harness.load.generator.LOG_LAG_S", 0.5)
    load = gateway.load(rps=100)
    tampered = gateway.folder / "tampered.jsonl"
    load._access_log = tampered
    load.start(Deadline.after(30))
    load._spawner = Tamper(gateway, tampered, load.load_id)
    ledger = run_for(load, 1.0)
    assert ledger.unexplained == 4
    assert "the gateway has no record of it" in ledger.examples[0]
    assert "the client does not know it" in ledger.examples[-1]
    with pytest.raises(LoadFailed, match="4 of"):
        ledger.check()


def test_an_answer_of_the_gateway_itself_is_a_refusal_with_its_flag(gateway: Gateway) -> None:
    """A cluster without a server: Envoy says 503, UF or UH, and no revision gets the blame."""
    load = gateway.load(rps=50, path="/dead")
    load.start(Deadline.after(30))
    ledger = run_for(load, 1.0)
    assert set(ledger.classes) <= {"refused:UF", "refused:UH", "refused:UF,URX"}
    assert ledger.unexplained == 0
    assert ledger.latency[0].failed == ledger.sent


def test_requests_beyond_the_bound_in_flight_are_counted_as_never_sent(gateway: Gateway) -> None:
    """An answer takes a second and one request may be in flight: most are not sent, and none is forgotten."""
    load = gateway.load(rps=50, path="/slow", connections=1)
    load.start(Deadline.after(30))
    ledger = run_for(load, 2.0)
    assert ledger.unexplained == 0
    assert ledger.classes["never sent:too many in flight"] > ledger.sent * 0.8
    assert ledger.classes["answered:v1"] >= 1
    assert sum(ledger.classes.values()) == ledger.sent


def test_a_client_that_gives_up_is_told_what_the_gateway_saw(gateway: Gateway) -> None:
    """Answers take a second, the client waits for 0.2 s: DC is Envoy's flag for a client that left."""
    load = gateway.load(rps=20, path="/slow", timeout_s=0.2)
    load.start(Deadline.after(30))
    ledger = run_for(load, 1.0)
    assert ledger.unexplained == 0
    assert all(name.startswith("gave up:") and "DC" in name for name in ledger.classes), ledger.classes


def test_the_load_ends_by_itself_after_its_longest_time(gateway: Gateway) -> None:
    """A scenario that forgets to stop its load does not leave it running."""
    load = gateway.load(rps=50, max_s=1)
    load.start(Deadline.after(30))
    assert load._children[0].wait(15) == 0
    ledger = load.stop(Deadline.after(10))
    assert ledger.unexplained == 0
    assert 0.5 < ledger.duration_s < 2


def test_a_generator_that_dies_is_an_error_with_its_log(gateway: Gateway) -> None:
    """Killed by -9: no ledger is better than a wrong one."""
    load = gateway.load(rps=50)
    load.start(Deadline.after(30))
    load._children[0].kill()
    load._children[0].wait(5)
    with pytest.raises(LoadFailed, match="killed by signal 9"):
        load.stop(Deadline.after(10))


def test_a_full_disk_ends_the_load_and_is_named(gateway: Gateway) -> None:
    """The records cannot be written: the schedule is not run again over them, and no ledger is made of the rest."""
    load = gateway.load(rps=50)
    load.files.folder.mkdir()
    load.files.records(0).symlink_to("/dev/full")
    load.start(Deadline.after(30))
    wait(load.files.failed(0).exists, what="the end of the schedule", deadline=Deadline.after(10))
    with pytest.raises(LoadFailed, match=r"exit code 1; .* OSError: .*No space left on device"):
        load.stop(Deadline.after(10))
    assert not load.files.finished(0).exists()


def test_a_gateway_that_is_not_there_is_said_at_the_deadline(gateway: Gateway) -> None:
    """Nobody listens at the URL: requests are never sent, so the load does not count as started."""
    load = gateway.load(url=f"http://127.0.0.1:{reserve()}", rps=20)
    with pytest.raises(PlatformError, match="first answer"):
        load.start(Deadline.after(4))


class Tamper:
    """Stops the load, then copies the gateway's log without its first three requests and with one that never was."""

    def __init__(self, gateway: Gateway, to: Path, load_id: str) -> None:
        self.gateway, self.to, self.load_id = gateway, to, load_id

    def spawn(self, name: str, argv: Any, *, env: Any = None) -> Any:
        raise AssertionError("the load is already running")

    def stop(self, child: Any, grace_s: float = 5.0) -> int | None:
        code = self.gateway.supervisor.stop(child, grace_s)
        self.gateway.supervisor.close()  # Envoy writes out its log when it ends
        lines = self.gateway.access_log.read_text().splitlines()
        removed = [f'"{self.load_id}-{number}"' for number in (3, 5, 7)]
        kept = [line for line in lines if not any(each in line for each in removed)]
        invented = json.dumps({**json.loads(lines[-1]), "id": f"{self.load_id}-999999"})
        self.to.write_text("\n".join([*kept, invented]) + "\n")
        return code


def run_for(load: Load, seconds: float) -> Any:
    """Let the load run for its time, measured by its own records."""
    wanted = seconds * load.spec.rps * 32
    wait(
        lambda: load.files.records(0).stat().st_size >= wanted or None,
        what="records",
        deadline=Deadline.after(seconds + 10),
        every_s=0.05,
    )
    return load.stop(Deadline.after(15))


def rows(ledger: Path) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(ledger).num_rows)


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
    router = {"@type": f"{EXTENSIONS}.filters.http.router.v3.Router"}
    manager = {
        "@type": f"{EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [
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
