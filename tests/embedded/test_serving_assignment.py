"""Who gets which requests beyond weights: sticky users, a header, mirrored copies; with real replicas and Envoy."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest

from harness.backends.inference_service import InferenceService
from harness.report.record import RevisionCounts
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait
from tests.embedded.conftest import World

ROW = [0.5, -0.25, 1.0]


def served(world: World, document: InferenceService, **headers: str) -> str:
    """The revision that answered one request."""
    return world.post(document, {"instances": [ROW]}, **headers).headers["x-served-by"]


def counts(world: World, document: InferenceService) -> dict[str, RevisionCounts]:
    return {each.revision: each for each in world.controller.counts(document.namespace, document.name, 50)}


def log_lines(world: World, host: str) -> list[dict[str, Any]]:
    lines = (world.folder / "access.jsonl").read_text().splitlines()
    return [line for line in map(json.loads, lines) if line["host"] == host]


@pytest.fixture
def canary(world: World, request: pytest.FixtureRequest) -> Iterator[InferenceService]:
    """A service of its own for each test, with a canary that has no traffic; deleted afterwards."""
    name = request.node.name.split("[")[0].removeprefix("test_")[:20].strip("_").replace("_", "-")
    base = world.deploy(world.service(name, "shallow"))
    yield world.deploy(base.with_canary("v2", str(world.models["deep"]), 0))
    world.controller.delete("production", name, Deadline.after(20))


def test_a_user_always_meets_the_same_revision_and_the_shares_fit(world: World, canary: InferenceService) -> None:
    """2,000 users at 20 %: within six standard deviations, and a second visit ends where the first did."""
    document = world.deploy(canary.with_traffic("v2", 20).with_split_by("user x-user-id"))
    users = [f"user-{n}" for n in range(2000)]
    first = [served(world, document, **{"x-user-id": user}) for user in users]
    assert abs(first.count("v2") - 400) <= 6 * math.sqrt(2000 * 0.2 * 0.8)
    assert [served(world, document, **{"x-user-id": user}) for user in users[:500]] == first[:500]
    world.deploy(document.with_traffic("v2", 50))
    wider = [served(world, document, **{"x-user-id": user}) for user in users[:500]]
    assert {now for before, now in zip(first, wider, strict=False) if before == "v2"} == {"v2"}
    assert {served(world, document) for _ in range(100)} == {"v1", "v2"}


def test_a_header_leads_to_the_canary_and_nothing_else_does(world: World, canary: InferenceService) -> None:
    """The exact value; after the rollback the header means nothing."""
    document = world.deploy(canary.with_split_by("header x-variant=b"))
    assert {served(world, document, **{"x-variant": "b"}) for _ in range(20)} == {"v2"}
    assert {served(world, document, **{"x-variant": "a"}) for _ in range(20)} == {"v1"}
    assert {served(world, document) for _ in range(20)} == {"v1"}
    world.deploy(document.without_canary("v2"))
    assert served(world, document, **{"x-variant": "b"}) == "v1"


def test_a_copy_is_logged_and_counted_as_the_canarys_and_as_nobody_elses(
    world: World, canary: InferenceService
) -> None:
    """Every request is answered by the baseline; its copy has its id and a line of its own."""
    document = world.deploy(canary.with_mirror(100))
    before = counts(world, document)["v1"].requests
    answers = [world.post(document, {"instances": [ROW]}, **{"x-request-id": f"copied-{n}"}) for n in range(50)]
    assert {answer.headers["x-served-by"] for answer in answers} == {"v1"}
    copies = wait(
        lambda: found if len(found := log_lines(world, f"{document.host}-shadow")) >= 50 else None,
        what="50 copies in the log",
        deadline=Deadline.after(10),
    )
    assert sorted(line["id"] for line in copies) == sorted(f"copied-{n}" for n in range(50))
    assert {(line["code"], line["revision"], line["cluster"]) for line in copies} == {
        (200, "v2", f"production/{document.name}/v2")
    }
    found = counts(world, document)
    assert (found["v1"].requests - before, found["v2"].requests, found["v2"].failed) == (50, 50, 0)


def test_a_share_of_the_requests_is_copied(world: World, canary: InferenceService) -> None:
    """25 % of 800 within six standard deviations; without the annotation none."""
    document = world.deploy(canary.with_mirror(25))
    for _ in range(800):
        world.post(document, {"instances": [ROW]})
    world.deploy(canary)
    for _ in range(100):
        world.post(document, {"instances": [ROW]})
    copied = wait(
        lambda: c.requests if (c := counts(world, document)["v2"]).requests == c.routed else None,
        what="copies answered",
        deadline=Deadline.after(10),
    )
    assert abs(copied - 200) <= 6 * math.sqrt(800 * 0.25 * 0.75)


def test_a_copy_that_fails_is_not_the_clients(world: World) -> None:
    """A canary that takes other columns refuses every copy: it has 50 failures, the baseline and the clients none."""
    base = world.deploy(world.service("careless", "moody"))
    document = world.deploy(base.with_canary("v2", str(world.models["shallow"]), 0).with_mirror(100))
    answers = [world.post(document, {"instances": [[float(n % 7)]]}) for n in range(50)]
    assert {answer.status_code for answer in answers} == {200}
    copies = wait(
        lambda: c if (c := counts(world, document)["v2"]).requests == 50 else None,
        what="the copies' ends",
        deadline=Deadline.after(10),
    )
    assert copies.failed == 50
    assert counts(world, document)["v1"].failed == 0
