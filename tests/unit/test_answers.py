"""What two revisions answer: counts at cuts that are fixed beforehand, and pairs of mirrored copies."""

from __future__ import annotations

import json
import math
from typing import Any

import httpx
import pytest

from harness.clients.http import client
from harness.components import answers as module
from harness.components.answers import FIRST, AnswerCollector, Tally, agree, predictions_of


def tally() -> Tally:
    """One whose cuts are the deciles of 0, 1, ... 199."""
    made = Tally("v1", "v2", 1e-6)
    for value in range(FIRST):
        made.take("v1", f"first-{value}", [float(value)])
    return made


def test_the_first_predictions_of_the_baseline_fix_the_cuts_and_are_not_counted() -> None:
    """Deciles; nothing is counted before they are there, the canary's included."""
    early = Tally("v1", "v2", 1e-6)
    early.take("v2", "a", [0.5])
    early.take("v1", "b", [0.5] * (FIRST - 1))
    assert early.answers().cuts == ()
    early.take("v1", "c", [0.7])
    assert (early.answers().baseline, early.answers().canary) == (0, 0)
    assert tally().answers().cuts == tuple(range(19, 199, 20))


def test_predictions_are_counted_at_or_below_each_cut() -> None:
    """A value on a cut is below it; one that is not a number is below none."""
    made = tally()
    cuts = made.answers().cuts
    made.take("v1", "a", [-1.0, cuts[0], 1e9])
    made.take("v2", "b", [cuts[8], math.nan])
    found = made.answers()
    assert found.baseline_below == (2,) * 9
    assert found.canary_below == (0,) * 8 + (1,)
    assert (found.baseline, found.canary) == (3, 2)


def test_a_model_of_two_answers_has_cuts_that_differ() -> None:
    """A tree with two leaves: the same decile twice would count one difference twice."""
    made = Tally("v1", "v2", 1e-6)
    for value in range(FIRST):
        made.take("v1", str(value), [float(value % 2)])
    assert made.answers().cuts == (0.0, 1.0)


def test_the_two_answers_to_one_request_are_compared_once() -> None:
    """Whichever comes first; equal within the tolerance, or not; a second answer of one revision is no pair."""
    made = Tally("v1", "v2", 1e-6)
    for request, one, other in (("a", 0.25, 0.25), ("b", 0.25, 0.2500005), ("c", 0.25, 0.26)):
        made.take("v1", request, [one])
        made.take("v2", request, [other])
    made.take("v2", "d", [1.0])
    made.take("v2", "d", [1.0])
    made.take("v1", "d", [1.0])
    made.take("v3", "e", [1.0])
    made.take("v1", "e", [1.0])
    assert (made.answers().compared, made.answers().agreed) == (4, 3)


def test_answers_that_wait_for_the_other_one_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without mirroring no request has two answers, and memory must not grow with the traffic."""
    monkeypatch.setattr(module, "WAITING", 10)
    made = Tally("v1", "v2", 1e-6)
    for number in range(1000):
        made.take("v1", str(number), [1.0])
    assert len(made._waiting) == 10
    made.take("v2", "0", [1.0])
    made.take("v2", "999", [1.0])
    assert made.answers().compared == 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [([1.0], [1.0], True), ([1.0], [1.0, 1.0], False), ([math.nan], [math.nan], True), ([1.0], [math.nan], False)],
)
def test_answers_agree_value_by_value(one: list[float], other: list[float], same: bool) -> None:
    """Another number of values is another answer."""
    assert agree(one, other, 1e-6) is same


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"predictions": [0.5, 1]}, [0.5, 1.0]),
        ({"outputs": [{"name": "predict", "data": [0.5]}]}, [0.5]),
        ({"error": "no"}, []),
        ({"predictions": ["a"]}, []),
        ([], []),
        ({"outputs": []}, []),
    ],
)
def test_predictions_of_both_protocols_are_understood(body: Any, found: list[float]) -> None:
    """An error has none."""
    assert predictions_of(json.dumps(body).encode()) == found


def test_what_is_not_json_has_no_predictions() -> None:
    """Nor has a null a value."""
    assert predictions_of(b"\xff{") == []
    assert math.isnan(predictions_of(b'{"predictions": [null]}')[0])


def event(revision: str, request_id: str, kind: str = "response") -> dict[str, str]:
    told = {"ce-type": f"org.kubeflow.serving.inference.{kind}", "ce-revision": revision, "ce-id": request_id}
    return {"content-type": "application/json", **told}


def test_events_are_taken_over_http_until_it_is_closed() -> None:
    """Requests are not answers; a body of no stated length is refused; the totals outlive the server."""
    with AnswerCollector(baseline="v1", canary="v2", tolerance=1e-6) as collector:
        body = {"predictions": [0.5]}
        with client(collector.url) as http:
            for revision in ("v1", "v2"):
                assert http.post("/", json=body, headers=event(revision, "a")).status_code == 200
                assert http.post("/", json=body, headers=event(revision, "b", "request")).status_code == 200
            assert http.post("/", content=iter([b"{}"])).status_code == 400
    collector.close()
    assert (collector.answers().compared, collector.answers().agreed) == (1, 1)
    with client(collector.url) as http, pytest.raises(httpx.ConnectError):
        http.post("/", json=body)


def test_a_replica_that_is_killed_while_it_tells_is_not_news(capsys: pytest.CaptureFixture[str]) -> None:
    """Its connection is reset: no traceback on the screen of a rehearsal that kills replicas."""
    collector = AnswerCollector(baseline="v1", canary="v2", tolerance=0.0)
    try:
        raise ConnectionResetError
    except ConnectionError:
        collector._server.handle_error(None, ("127.0.0.1", 0))
    collector.close()
    assert capsys.readouterr().err == ""
