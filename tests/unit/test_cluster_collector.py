"""The in-cluster collector: what it counts for whom, over real HTTP on the loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import httpx
import pytest

from harness.clients.http import client
from harness.components.collector import KEPT_S, Collector, CollectorServer, Comparison, parse_path

RESPONSE = {"ce-type": "org.kubeflow.serving.inference.response"}


@pytest.fixture
def collector() -> Iterator[httpx.Client]:
    """A client of a collector of its own."""
    with CollectorServer(0, "127.0.0.1") as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        with client(f"http://127.0.0.1:{server.server_port}") as http:
            yield http
        server.shutdown()
        thread.join()


def send(http: httpx.Client, comparison: Comparison, revision: str, request_id: str, predictions: list[float]) -> int:
    body = json.dumps({"predictions": predictions})
    return http.post(comparison.path(revision), content=body, headers={**RESPONSE, "ce-id": request_id}).status_code


def test_rollouts_are_counted_apart(collector: httpx.Client) -> None:
    """Each rollout has totals of its own."""
    one = Comparison("one", "v1", "v2", 1e-6, cuts=(0.5,))
    other = Comparison("other", "v1", "v3", 1e-6, cuts=(0.5,))
    assert send(collector, one, "v1", "a", [0.1, 0.9]) == 200
    assert send(collector, other, "v3", "a", [0.1]) == 200
    assert collector.get("/answers/one").json()["baseline_below"] == [1]
    assert collector.get("/answers/one").json()["baseline"] == 2
    assert collector.get("/answers/other").json()["canary"] == 1


def test_nobody_can_have_the_totals_of_a_rollout_dropped(collector: httpx.Client) -> None:
    """Who may send events may not take away what another rollout is decided by."""
    send(collector, Comparison("one", "v1", "v2", 1e-6, cuts=(0.5,)), "v1", "a", [0.1])
    for method in ("GET", "POST", "DELETE"):
        for path in ("/forget/one", "/answers/one"):
            collector.request(method, path)
    assert collector.get("/answers/one").json()["baseline"] == 1


def test_a_rollout_without_events_is_forgotten_after_an_hour() -> None:
    """However many rollouts a cluster has in a month, the collector holds those of the last hour."""
    clock = [0.0]
    kept = Collector(lambda: clock[0])
    body = json.dumps({"predictions": [0.1]}).encode()
    for at, rollout in ((0.0, "silent"), (0.0, "busy"), (KEPT_S, "busy"), (KEPT_S + 1, "new")):
        clock[0] = at
        kept.take(Comparison(rollout, "v1", "v2", 0.1, cuts=(0.5,)), "v1", "a", body)
    assert {rollout: bool(kept.answers(rollout)) for rollout in ("silent", "busy", "new")} == {
        "silent": False, "busy": True, "new": True,
    }  # fmt: skip


def test_two_answers_to_one_request_are_compared(collector: httpx.Client) -> None:
    """A mirrored copy is held against the answer that the user got."""
    rollout = Comparison("r", "v1", "v2", 0.01, cuts=(0.5,))
    for revision, value in (("v1", 0.3), ("v2", 0.305)):
        send(collector, rollout, revision, "same", [value])
    send(collector, rollout, "v1", "differs", [0.3])
    send(collector, rollout, "v2", "differs", [0.4])
    told = collector.get("/answers/r").json()
    assert (told["compared"], told["agreed"]) == (2, 1)


def test_requests_and_other_revisions_are_not_counted(collector: httpx.Client) -> None:
    """Only responses of the two revisions count."""
    rollout = Comparison("r", "v1", "v2", 0.01, cuts=(0.5,))
    send(collector, rollout, "v9", "x", [0.3])
    collector.post(rollout.path("v1"), json={"instances": []}, headers={"ce-type": "org.kubeflow.serving.request"})
    told = collector.get("/answers/r").json() or {"baseline": 0, "canary": 0}
    assert (told["baseline"], told["canary"]) == (0, 0)


def test_a_path_that_is_no_events_path_is_refused(collector: httpx.Client) -> None:
    """A logger with a wrong URL is told so."""
    assert collector.post("/events/only-a-rollout", content=b"{}").status_code == 400
    assert collector.post("/events/r/v1", content=b"{}").status_code == 400
    assert collector.get("/nothing").status_code == 404
    assert collector.get("/health").status_code == 200


@pytest.mark.parametrize("cuts", [(), (0.25, 0.5)])
def test_a_comparison_survives_its_url(cuts: tuple[float, ...]) -> None:
    """What the platform asks for is what the collector reads."""
    asked = Comparison("r-1", "v1", "v2", 1e-6, cuts)
    assert parse_path(asked.path("v2")) == (asked, "v2")
