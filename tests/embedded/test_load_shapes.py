"""Shapes of load against a real Envoy: what was offered is the shape, alone with Locust as in a scenario."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from harness.clients.http import client
from harness.load.shapes import Diurnal, Ramp, Shape, Soak, Spike, Step
from harness.load.trace import Replay
from harness.runtime.clock import Deadline
from harness.runtime.ports import reserve
from harness.runtime.wait import wait
from tests.embedded.load_gateway import Gateway, processes, rows, running

LOADTESTS = Path(__file__).parents[2] / "loadtests"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with running(tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


@pytest.mark.parametrize("many", [1, 2])
def test_what_is_offered_is_the_shape(gateway: Gateway, many: int) -> None:
    """20, then 100, then 20 a second: each second has its count, from one process or two, and the load ends itself."""
    load = gateway.load(Spike(20, 100, 1, 1, 1), processes=many)
    load.start(Deadline.after(30))
    load.wait()
    assert [child.wait(10) for child in processes(load).children] == [0] * many
    ledger = load.stop(Deadline.after(15))
    assert (ledger.sent, ledger.unexplained) == (140, 0)
    assert ledger.timeline.offered[:3] == [20, 100, 20]
    assert sum(ledger.timeline.answered) == 140
    assert ledger.timeline.in_flight[-1] == 0
    assert ledger.shape.parameters["peak_rps"] == 100
    assert ledger.target_rps == pytest.approx(140 / 3)


def test_a_shape_of_fewer_requests_than_processes_is_sent_as_well(gateway: Gateway) -> None:
    """The second process has nothing to send, and is not waited for."""
    load = gateway.load(Step((1,), 1.0), processes=2)
    load.start(Deadline.after(30))
    load.wait()
    assert load.stop(Deadline.after(15)).sent == 1


def test_a_trace_is_sent_again_request_by_request(gateway: Gateway, tmp_path: Path) -> None:
    """Each at its time with its body; a pause in between is one."""
    trace = tmp_path / "trace.csv"
    trace.write_text("timestamp,payload\n10,1\n10.25,0\n10.25,1\n11.5,1\n")
    load = gateway.load(Replay(str(trace)))
    load.start(Deadline.after(30))
    load.wait()
    ledger = load.stop(Deadline.after(15))
    assert [row["intended_s"] for row in rows(ledger.path)] == pytest.approx([0, 0.25, 0.25, 1.5], abs=1e-5)
    assert ledger.classes == {"answered:v1": 4}


ALONE: list[tuple[Shape, list[str]]] = [
    (Step((20, 60), 1), ["--rates", "20/60", "--each-s", "1"]),
    (Ramp(10, 90, 2), ["--from-rps", "10", "--to-rps", "90", "--ramp-s", "2"]),
    (Spike(10, 100, 0.5, 0.5, 0.5), ["--base-rps", "10", "--peak-rps", "100", "--before-s", ".5", "--peak-s", ".5",
                                     "--after-s", ".5"]),
    (Soak(50, 1, 1), ["--rps", "50", "--ramp-s", "1", "--hold-s", "1"]),
    (Diurnal(10, 90, 2), ["--low-rps", "10", "--high-rps", "90", "--day-s", "2"]),
]  # fmt: skip


def alone(kind: str, *options: str) -> list[str]:
    locust = [sys.executable, "-m", "locust", "-f", str(LOADTESTS / f"{kind}.py"), "--headless", "--only-summary"]
    return [*locust, "--stop-timeout", "7", *options]


@pytest.mark.parametrize(("shape", "options"), ALONE, ids=[shape.kind for shape, _ in ALONE])
def test_each_shape_runs_alone_and_ends_by_itself(
    gateway: Gateway, tmp_path: Path, shape: Shape, options: list[str]
) -> None:
    """`locust -f loadtests/…`: no --run-time, the requests of the shape, all answered."""
    argv = alone(shape.kind, "--host", gateway.url, "--path", "/v1", "--records", str(tmp_path / "records"), *options)
    child = gateway.supervisor.spawn(shape.kind, argv, task=True)
    assert child.wait(40) == 0, child.tail()
    finished = json.loads((tmp_path / "records" / "finished-0.json").read_text())
    assert shape.duration_s is not None
    assert finished["requests"] == pytest.approx(shape.requests(shape.duration_s), abs=1)
    assert finished["left"] == finished["requests"]


def test_a_replay_runs_alone(gateway: Gateway, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("timestamp\n" + "".join(f"{number / 50}\n" for number in range(50)))
    argv = alone("replay", "--host", gateway.url, "--path", "/v1", "--records", str(tmp_path / "records"))
    child = gateway.supervisor.spawn("replay", [*argv, "--trace", str(trace), "--speed", "2"], task=True)
    assert child.wait(40) == 0, child.tail()
    finished = json.loads((tmp_path / "records" / "finished-0.json").read_text())
    assert (finished["requests"], finished["left"]) == (50, 50)
    assert finished["duration_s"] < 1.5


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("ramp", ["--from-rps", "-1"], "ramp.py: load.shape: ramp.from_rps: expected a number from 0 to 20000, got -1"),
        ("step", ["--rates", "5/x"], "argument --rates: expected a number, got 'x'"),
        ("replay", ["--trace", "gone.csv"], "gone.csv: no such trace"),
        (
            "spike",
            ["--host", "http://198.51.100.7:80"],
            "spike.py: load: http://198.51.100.7:80 is neither this machine",
        ),
    ],
)
def test_a_locustfile_refuses_what_makes_no_sense(kind: str, options: list[str], words: str) -> None:
    """One line, exit code 2, before anything is sent."""
    argv = alone(kind, "--host", "http://127.0.0.1:1", *options)
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert words in ended.stderr.splitlines()[-1]


def test_a_host_that_refuses_connections_is_told_at_once() -> None:
    """Not after the test: two seconds from when Locust has read its options."""
    port = reserve()
    began = time.monotonic()
    ended = subprocess.run(
        alone("steady", "--host", f"http://127.0.0.1:{port}", "--run-time", "60s"),
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith(f"steady.py: load: http://127.0.0.1:{port}: Connection refused")
    assert time.monotonic() - began < 20


BROKEN = """
from harness.errors import CapabilityMissing
from harness.load.open_loop import OpenLoopUser, Traffic

class BrokenUser(OpenLoopUser):
    fixed_count = 1
    def traffic(self) -> Traffic:
        raise CapabilityMissing("the payload did not come with this installation")
"""


def test_traffic_that_cannot_be_made_ends_locust(tmp_path: Path) -> None:
    """Once, with its reason: a worker that tries again and again writes a hundred megabytes of it into its log."""
    (tmp_path / "broken.py").write_text(BROKEN, encoding="utf-8")
    locust = [sys.executable, "-m", "locust", "-f", str(tmp_path / "broken.py"), "--headless", "--run-time", "60s"]
    done = subprocess.run([*locust, "--host", "http://127.0.0.1:9"], capture_output=True, text=True, timeout=50)
    assert done.returncode == 1
    assert done.stderr.count("nothing is sent") == 1
    assert "the payload did not come with this installation" in done.stderr


def test_the_page_of_locust_starts_a_shape(gateway: Gateway, tmp_path: Path) -> None:
    """Without --headless: its fields are the shape's; a load started there is the shape, and the page stays."""
    port, records = reserve(), tmp_path / "records"
    argv = [sys.executable, "-m", "locust", "-f", str(LOADTESTS / "spike.py"), "--host", gateway.url, "--path", "/v1"]
    argv += ["--web-host", "127.0.0.1", "--web-port", str(port), "--records", str(records), "--before-s", "0.5"]
    child = gateway.supervisor.spawn("page", [*argv, "--after-s", "0.5"], task=True)
    with client(f"http://127.0.0.1:{port}") as http:
        page = wait(lambda: _page(http), what="Locust's page", deadline=Deadline.after(40), child=child)
        assert "peak_rps" in page
        asked = {"user_count": 1, "spawn_rate": 1, "host": gateway.url, "base_rps": 20, "peak_rps": 60, "peak_s": 0.5}
        wrong = http.post("/swarm", data={**asked, "host": "http://198.51.100.7"})
        assert wrong.json()["success"], wrong.text
        refusal = "neither this machine"
        wait(lambda: refusal in child.tail(), what="the refusal", deadline=Deadline.after(10), child=child)
        http.get("/stop")
        assert not records.exists()
        assert child.tail(1000).count(refusal) == 1
        started = http.post("/swarm", data=asked)
        assert started.json()["success"], started.text
        wait((records / "finished-0.json").exists, what="its end", deadline=Deadline.after(30), child=child)
        assert json.loads((records / "finished-0.json").read_text())["requests"] == 50
        assert "peak_rps" in _page(http)


def _page(http: httpx.Client) -> str:
    try:
        return http.get("/").text
    except httpx.TransportError:
        return ""
