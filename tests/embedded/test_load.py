"""The load generator and its ledger against a real Envoy: the rate is kept, every request is explained."""

from __future__ import annotations

import itertools
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.lifecycle.slo import SLO
from harness.load.arrivals import user_of
from harness.load.shapes import Steady
from harness.runtime.clock import Deadline
from tests.embedded.load_gateway import Gateway, processes, rows, run_for, running

STEADY = Path(__file__).parents[2] / "loadtests" / "steady.py"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with running(tmp_path) as gateway:
        yield gateway


def test_the_rate_is_kept_and_every_request_is_explained(gateway: Gateway) -> None:
    """200 requests a second for 3 seconds: within 2 %, one class, nothing unexplained."""
    load = gateway.load(Steady(200))
    load.start(Deadline.after(30))
    ledger = run_for(load, 3.0)
    assert ledger.achieved_rps == pytest.approx(200, rel=0.02)
    assert ledger.sent >= 500
    assert ledger.classes == {"answered:v1": ledger.sent}
    assert (ledger.unexplained, ledger.examples) == (0, ())
    assert ledger.latency[0].revision == "v1"
    assert 0 < ledger.latency[0].p50_ms <= ledger.latency[0].p99_ms
    assert sum(ledger.timeline.offered) == ledger.sent
    assert len(rows(ledger.path)) == ledger.sent


def test_an_answer_of_the_gateway_itself_is_a_refusal_with_its_flag(gateway: Gateway) -> None:
    """A cluster without a server: Envoy says 503, UF or UH, and no revision gets the blame."""
    load = gateway.load(Steady(50), path="/dead")
    load.start(Deadline.after(30))
    ledger = run_for(load, 1.0)
    assert set(ledger.classes) <= {"refused:UF", "refused:UH", "refused:UF,URX"}
    assert ledger.unexplained == 0
    assert ledger.latency[0].failed == ledger.sent


def test_requests_beyond_the_bound_in_flight_are_counted_as_never_sent(gateway: Gateway) -> None:
    """An answer takes a second and one request may be in flight: most are not sent, and none is forgotten."""
    load = gateway.load(Steady(50), path="/slow", connections=1)
    load.start(Deadline.after(30))
    ledger = run_for(load, 2.0)
    assert ledger.unexplained == 0
    assert ledger.classes["never sent:too many in flight"] > ledger.sent * 0.8
    assert ledger.classes["answered:v1"] >= 1
    assert sum(ledger.classes.values()) == ledger.sent


def test_a_client_that_gives_up_is_told_what_the_gateway_saw(gateway: Gateway) -> None:
    """Answers take a second, the client waits for 0.2 s: DC is Envoy's flag for a client that left."""
    load = gateway.load(Steady(20), path="/slow", timeout_s=0.2)
    load.start(Deadline.after(30))
    ledger = run_for(load, 1.0)
    assert ledger.unexplained == 0
    assert all(name.startswith("gave up:") and "DC" in name for name in ledger.classes), ledger.classes


def test_poisson_arrivals_have_the_rate_and_the_spread_of_a_poisson_process(gateway: Gateway) -> None:
    """300 a second for 3 s: the gaps' standard deviation is their mean; the seed alone decides when they are due."""
    dues = []
    for _ in range(2):
        load = gateway.load(Steady(300), arrivals="poisson", seed=7)
        load.start(Deadline.after(30))
        ledger = run_for(load, 3.0)
        assert (ledger.unexplained, ledger.arrivals) == (0, "poisson")
        dues.append([row["intended_s"] for row in rows(ledger.path)])
    gaps = [after - before for before, after in itertools.pairwise(dues[0])]
    assert statistics.mean(gaps) == pytest.approx(1 / 300, rel=0.12)
    assert statistics.stdev(gaps) == pytest.approx(statistics.mean(gaps), rel=0.15)
    both = min(map(len, dues))
    assert dues[0][:both] == dues[1][:both]


def test_several_processes_offer_one_load_together(gateway: Gateway) -> None:
    """Two processes take turns: their requests are evenly spaced on one clock, and no number is used twice."""
    load = gateway.load(Steady(200), processes=2, users=5)
    load.start(Deadline.after(30))
    ledger = run_for(load, 2.0)
    assert (ledger.unexplained, ledger.processes, ledger.users) == (0, 2, 5)
    assert ledger.classes == {"answered:v1": ledger.sent}
    told = rows(ledger.path)
    assert [row["sequence"] for row in told[:300]] == list(range(300))
    assert [row["intended_s"] for row in told[:300]] == pytest.approx([number / 200 for number in range(300)], abs=1e-5)
    assert {row["user"] for row in told} == set(range(5))


def test_every_request_names_its_user(gateway: Gateway) -> None:
    """x-user-id is in the gateway's log; it is the ledger's `user`, and a user keeps its number in the next load."""
    load = gateway.load(Steady(100), users=3)
    load.start(Deadline.after(30))
    ledger = run_for(load, 1.0)
    logged = [json.loads(line) for line in gateway.access_log.read_text().splitlines()]
    named = {entry["id"]: entry["user"] for entry in logged if entry["user"]}
    told = {f"{load.load_id}-{row['sequence']}": f"user-{row['user']}" for row in rows(ledger.path)}
    assert told == named
    assert [user_of(number, 3) for number in range(5)] == [row["user"] for row in rows(ledger.path)[:5]]


def test_the_latencies_of_a_slow_server_break_the_slo(gateway: Gateway) -> None:
    """Every answer takes a second, 100 ms were promised; the generator was on time, so the verdict stands."""
    load = gateway.load(Steady(100), path="/slow", slo=SLO(slow=0.05, slower_than_ms=100))
    load.start(Deadline.after(30))
    ledger = run_for(load, 2.0)
    assert ledger.distrust == ""
    assert ledger.latency_verdict is not None
    assert (ledger.latency_verdict.decision, ledger.latency_verdict.observed) == ("roll back", 1.0)


def test_steady_runs_alone(gateway: Gateway, tmp_path: Path) -> None:
    """`locust -f loadtests/steady.py`, with Poisson arrivals and users; the records are where they were asked for."""
    argv = [sys.executable, "-m", "locust", "-f", str(STEADY), "--headless", "--only-summary", "--host", gateway.url]
    argv += ["--run-time", "4s", "--rps", "100", "--arrivals", "poisson", "--user-ids", "3", "--path", "/v1"]
    argv += ["--records", str(tmp_path / "records"), "--service-host", "model.example.com"]
    child = gateway.supervisor.spawn("steady", argv, task=True)
    assert child.wait(30) == 0, child.tail()
    finished = json.loads((tmp_path / "records" / "finished-0.json").read_text())
    assert finished["left"] > 50
    assert (tmp_path / "records" / "records-0.bin").stat().st_size == finished["requests"] * 32


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--rps", "0", "argument --rps: expected a number from 0.1 to 20000, got 0"),
        ("--user-ids", "-1", "argument --user-ids: expected a whole number from 0 to"),
        ("--arrivals", "bursts", "argument --arrivals: invalid choice: 'bursts'"),
    ],
)
def test_steady_refuses_what_makes_no_sense(option: str, value: str, words: str) -> None:
    """One line with the option and what is allowed, before anything is sent."""
    argv = [sys.executable, "-m", "locust", "-f", str(STEADY), "--headless", "--host", "http://127.0.0.1:1"]
    ended = subprocess.run([*argv, option, value], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert words in ended.stderr.splitlines()[-1]


def test_the_load_ends_by_itself_after_its_longest_time(gateway: Gateway) -> None:
    """A scenario that forgets to stop its load does not leave it running."""
    load = gateway.load(Steady(50), max_s=2)
    load.start(Deadline.after(30))
    assert processes(load).children[0].wait(15) == 0
    ledger = load.stop(Deadline.after(10))
    assert ledger.unexplained == 0
    assert 0.2 < ledger.duration_s < 3
