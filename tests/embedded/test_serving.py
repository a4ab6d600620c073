"""Serving on real KServe replicas behind a real Envoy: answers, splits, promotion, rollback, namespaces."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from harness.backends.document import parse
from harness.errors import DocumentError, UsageError
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait
from tests.embedded.conftest import World
from tests.embedded.saved_models import COLUMNS

ROW = [0.5, -0.25, 1.0]


def six_sigma(n: int, share: float) -> float:
    """How far a binomial count may be from its mean: a false alarm in 500 million runs."""
    return 6 * math.sqrt(n * share * (1 - share))


def test_both_protocols_give_the_offline_models_answers(world: World) -> None:
    """V1 by position and by name, V2 as one tensor and as one tensor a column."""
    document = world.deploy(world.service("answers", "shallow"))
    rows, answers = world.expected("shallow")
    named = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    flat = {"name": "input-0", "shape": [5, 3], "datatype": "FP64", "data": [value for row in rows for value in row]}
    columns = [
        {"name": name, "shape": [5], "datatype": "FP64", "data": [row[at] for row in rows]}
        for at, name in enumerate(COLUMNS)
    ]
    infer = "/v2/models/answers/infer"
    assert world.post(document, {"instances": rows}).json()["predictions"] == answers
    assert world.post(document, {"instances": named}).json()["predictions"] == answers
    for inputs in ([flat], columns):
        (output,) = world.post(document, {"inputs": inputs}, infer).json()["outputs"]
        assert (output["name"], output["datatype"], output["shape"]) == ("predict", "FP64", [5])
        assert output["data"] == answers


def test_text_columns_are_served_too(world: World) -> None:
    """A pipeline that needs a DataFrame gets one; a regression serves its prediction."""
    document = world.deploy(world.service("mixed", "mixed"))
    rows, answers = world.expected("mixed")
    assert world.post(document, {"instances": rows}).json()["predictions"] == pytest.approx(answers)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"instances": [[1, 2]]}, "instances[0]: expected 3 values (age, visits, income), got 2 values"),
        ({"instances": [{"age": 1, "visits": 2, "incme": 3}]}, "missing: income; unknown: incme"),
        ({"instances": [ROW, [1, "many", 3]]}, "row 1, column 'visits': expected a number, got a string ('many')"),
        ({"instances": []}, "at least one row"),
        ({"rows": [ROW]}, '"instances"'),
    ],
)
def test_a_request_that_does_not_fit_is_a_400_that_names_the_columns(world: World, body: Any, told: str) -> None:
    """The client's mistake is told to the client."""
    document = world.service("fits", "shallow")
    world.deploy(document)
    answer = world.post(document, body)
    assert answer.status_code == 400
    assert told in answer.json()["error"]


def test_a_huge_body_is_refused_by_the_gateway(world: World) -> None:
    """413 with the limit; the replica never sees it."""
    document = world.deploy(world.service("huge", "shallow"))
    answer = world.post(document, {"instances": [ROW] * 300_000})
    assert answer.status_code == 413
    assert "4194304 bytes" in answer.json()["error"]
    assert world.post(document, {"instances": [ROW]}).status_code == 200


def test_an_unknown_host_is_told_that_there_is_no_such_service(world: World) -> None:
    """404 and the host."""
    answer = world.http.post("/v1/models/x:predict", json={}, headers={"host": "x-nowhere.example.com"})
    assert (answer.status_code, answer.json()["error"]) == (
        404,
        "no InferenceService has the host x-nowhere.example.com",
    )


def test_a_request_id_is_kept_and_one_is_made_where_there_is_none(world: World) -> None:
    """The ledger and the access log are joined on it."""
    document = world.deploy(world.service("ids", "shallow"))
    assert world.post(document, {"instances": [ROW]}, **{"x-request-id": "mine"}).headers["x-request-id"] == "mine"
    assert len(world.post(document, {"instances": [ROW]}).headers["x-request-id"]) == 36
    log = world.folder / "access.jsonl"
    lines = wait(
        lambda: [line for line in map(json.loads, log.read_text().splitlines()) if line["id"] == "mine"],
        what="access log line",
        deadline=Deadline.after(5),
    )
    assert (lines[0]["code"], lines[0]["revision"], lines[0]["cluster"]) == (200, "v1", "production/ids/v1")
    assert lines[0]["host"] == document.host
    assert lines[0]["attempts"] == 1


def test_a_canary_gets_its_share_and_the_gateway_counts_the_same(world: World) -> None:
    """20 % of 2,000 within six standard deviations; header and counters agree to the request."""
    base = world.deploy(world.service("split", "shallow"))
    document = world.deploy(base.with_canary("v2", str(world.models["deep"]), 20))
    served = [world.post(document, {"instances": [ROW]}).headers["x-served-by"] for _ in range(2000)]
    assert abs(served.count("v2") - 400) <= six_sigma(2000, 0.2)
    counts = {count.revision: count for count in world.controller.counts("production", "split", 50)}
    assert {name: count.requests for name, count in counts.items()} == {
        name: served.count(name) for name in ("v1", "v2")
    }
    assert all(count.failed == 0 for count in counts.values())


def test_failed_and_slow_requests_are_counted_apart(world: World) -> None:
    """31 errors and 2 answers above 50 ms among 39; a refused request is a failure too: it may be the model that errs.

    30 errors are the model's own 500: none of them costs the next request its connection.
    """
    document = world.deploy(world.service("moody", "moody"))
    ages = [*range(-30, 0), 20, 30, 1, 2, 3, 4, 5, 6, "old"]
    codes = [world.post(document, {"instances": [[age]]}).status_code for age in ages]
    assert codes == [500] * 30 + [200] * 8 + [400]
    counts = wait(
        lambda: [c for c in world.controller.counts("production", "moody", 50) if c.timed == 39],
        what="39 requests in the histogram",
        deadline=Deadline.after(5),
    )
    assert [(c.revision, c.requests, c.failed, c.slow) for c in counts] == [("v1", 39, 31, 2)]


def test_a_request_that_the_gateway_itself_refuses_is_no_revisions_failure(world: World) -> None:
    """413 for a body that no replica ever saw: a client's mistake cannot condemn a canary."""
    document = world.deploy(world.service("unseen", "shallow"))
    assert world.post(document, {"instances": [ROW] * 300_000}).status_code == 413
    assert world.post(document, {"instances": [ROW]}).status_code == 200
    (counts,) = world.controller.counts("production", "unseen", 50)
    assert (counts.requests, counts.failed) == (1, 0)


def test_a_weight_is_in_effect_when_apply_returns(world: World) -> None:
    """0 % and 100 % leave no room for luck."""
    base = world.deploy(world.service("weights", "shallow"))
    document = world.deploy(base.with_canary("v2", str(world.models["deep"]), 0))
    for percent, expected in ((100, "v2"), (0, "v1")) * 25:
        world.controller.apply(document.with_traffic("v2", percent))
        served = [world.post(document, {"instances": [ROW]}).headers["x-served-by"] for _ in range(3)]
        assert served == [expected] * 3


def test_promotion_does_not_restart_the_replica(world: World) -> None:
    """The canary's process is the predictor's process; the old predictor is drained and gone."""
    base = world.deploy(world.service("promoted", "shallow"))
    canary = world.deploy(base.with_canary("v2", str(world.models["deep"]), 50))
    before = world.pids(canary)
    promoted = world.deploy(canary.promoted("v2"))
    assert world.pids(promoted) == {"v2": before["v2"]}
    assert world.post(promoted, {"instances": [ROW]}).headers["x-served-by"] == "v2"
    wait(lambda: "production.promoted.v1" not in _children(world), what="v1 stopped", deadline=Deadline.after(10))


def test_rollback_leaves_the_baseline_alone(world: World) -> None:
    """The canary's entry is dropped; the baseline's process is the same."""
    base = world.deploy(world.service("rolledback", "shallow"))
    before = world.pids(base)
    canary = world.deploy(base.with_canary("v2", str(world.models["deep"]), 50))
    world.deploy(canary.without_canary("v2"))
    assert world.pids(base) == before
    served = {world.post(base, {"instances": [ROW]}).headers["x-served-by"] for _ in range(50)}
    assert served == {"v1"}


def test_two_namespaces_hold_two_services_of_one_name(world: World) -> None:
    """Staging's candidate is not production's champion."""
    production = world.deploy(world.service("twice", "shallow"))
    staging = world.deploy(world.service("twice", "deep", namespace="staging"))
    for document, model in ((production, "shallow"), (staging, "deep")):
        rows, answers = world.expected(model)
        assert world.post(document, {"instances": rows}).json()["predictions"] == answers
    world.controller.delete("staging", "twice", Deadline.after(20))
    assert world.post(staging, {"instances": [ROW]}).status_code == 404
    assert world.post(production, {"instances": [ROW]}).status_code == 200


def test_the_same_document_again_changes_nothing(world: World) -> None:
    """Same generation, same process, same transition times."""
    document = world.deploy(world.service("same", "shallow"))
    before = world.controller.status("production", "same")
    world.controller.apply(parse(document.to_dict()))
    assert world.controller.status("production", "same") == before
    assert before.generation == before.observed_generation == 1
    world.controller.apply(document.with_canary("v2", str(world.models["deep"]), 0))
    assert world.controller.status("production", "same").generation == 2


def test_two_services_with_one_host_name_are_refused(world: World) -> None:
    """a-b in c and a in b-c would both be a-b-c.example.com."""
    world.deploy(world.service("a-b", "shallow", namespace="c"))
    with pytest.raises(DocumentError, match=r"c/a-b has the host a-b-c\.example\.com too"):
        world.controller.apply(world.service("a", "shallow", namespace="b-c"))


def test_more_replicas_share_the_requests(world: World) -> None:
    """Both processes answer; the first one is not restarted by the change."""
    document = world.deploy(world.service("wider", "shallow"))
    (first,) = world.controller.status("production", "wider").replicas
    world.deploy(world.service("wider", "shallow", minReplicas=2))
    replicas = world.controller.status("production", "wider").replicas
    assert len(replicas) == 2
    assert first in replicas
    assert {world.post(document, {"instances": [ROW]}).status_code for _ in range(20)} == {200}


def test_a_deleted_service_is_gone_with_its_processes(world: World) -> None:
    """And asking for it is a one-line error."""
    document = world.deploy(world.service("deleted", "shallow"))
    world.controller.delete("production", "deleted", Deadline.after(20))
    assert world.post(document, {"instances": [ROW]}).status_code == 404
    assert "production.deleted.v1" not in _children(world)
    with pytest.raises(UsageError, match="no InferenceService production/deleted is applied"):
        world.controller.status("production", "deleted")


def test_a_transformer_stands_before_the_split(world: World) -> None:
    """Its answers are the predictor's for the changed rows, of either revision, under one request id."""
    base = world.service("front", "shallow").to_dict()
    base["spec"]["transformer"] = {"containers": [{"args": ["tests.embedded.user_transformer:PerYear"]}]}
    document = world.deploy(parse(base))
    rows, answers = world.expected("shallow")
    weekly = [[row[0], row[1] / 52, row[2]] for row in rows]
    answer = world.post(document, {"instances": weekly}, **{"x-request-id": "through"})
    assert answer.json()["predictions"] == answers
    assert answer.headers["x-served-by"] == "v1"
    world.deploy(document.with_canary("v2", str(world.models["deep"]), 100))
    answer = world.post(document, {"instances": weekly})
    assert answer.json()["predictions"] == world.expected("deep")[1]
    assert answer.headers["x-served-by"] == "v2"
    assert {count.revision for count in world.controller.counts("production", "front", 50)} == {"v1", "v2"}
    assert world.controller.status("production", "front").condition("TransformerReady").status == "True"


def _children(world: World) -> str:
    return " ".join(child.name for child in world.supervisor.children())
