"""Every request is in exactly one class; what the two sides disagree on is unexplained, with the reason."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from harness.load.join import Case, Entry, classify
from harness.load.records import Failure
from tests.unit.load_story import Story

OK = Entry(200, "", "v1")


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    with contextlib.closing(Story(tmp_path)) as story:
        yield story


def case(
    status: int = 200,
    revision: str = "v1",
    error: Failure = Failure.NONE,
    entry: Entry | None = OK,
    **more: bool,
) -> Case:
    return Case(status, revision, error, entry, **more)


def failed(error: Failure, entry: Entry | None = None, **more: bool) -> Case:
    return case(0, "", error, entry, **more)


@pytest.mark.parametrize(
    ("request_", "found"),
    [
        (case(), "answered:v1"),
        (case(500, entry=Entry(500, "", "v1")), "answered:v1"),
        (case(entry=Entry(200, "DI", "v1")), "answered:v1"),
        (case(entry=Entry(200, "", "")), "answered:v1"),
        (case(copied=True), "answered:v1"),
        (case(entry=None, died=True), "answered:v1"),
        (case(503, "", entry=Entry(503, "UH", "")), "refused:UH"),
        (case(503, entry=Entry(503, "UF,URX", "v1")), "refused:UF,URX"),
        (case(413, "", entry=Entry(413, "", "v1")), "refused:413"),
        (case(503, "", entry=None, died=True), "refused:503"),
        (failed(Failure.TIMEOUT, Entry(0, "DC", "v2")), "gave up:v2:DC"),
        (failed(Failure.ABANDONED, OK), "gave up:v1:200"),
        (failed(Failure.DISCONNECTED, Entry(0, "DC", "")), "gave up:no revision:DC"),
        (failed(Failure.DISCONNECTED, died=True), "lost:gateway died"),
        (failed(Failure.TIMEOUT, died=True), "lost:gateway died"),
        (failed(Failure.OVERLOADED), "never sent:too many in flight"),
        (failed(Failure.NO_CONNECTION), "never sent:no connection"),
        (failed(Failure.NO_CONNECTION, died=True), "never sent:no connection"),
    ],
)
def test_a_request_that_both_sides_agree_on_has_its_class(request_: Case, found: str) -> None:
    """Answered, refused, given up, lost with the gateway, never sent: with who or why."""
    assert classify(request_) == (found, "")


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (case(entry=None), "the client says answered 200, the gateway has no record of it"),
        (failed(Failure.TIMEOUT), "the client says failed (timeout), the gateway has no record of it"),
        (case(revision="v2"), "the client was served by v2, the gateway says v1"),
        (case(revision="v2", died=True), "the client was served by v2, the gateway says v1"),
        (case(500), "the client got 500, the gateway sent 200"),
        (failed(Failure.OVERLOADED, OK), "the client did not send it, the gateway answered 200"),
        (failed(Failure.OVERLOADED, copied=True), "did not send it, the gateway has a mirrored copy of it"),
    ],
)
def test_a_request_that_the_sides_disagree_on_is_unexplained(request_: Case, why: str) -> None:
    """The reason says what each of them holds; the death of a gateway explains what is missing, never what differs."""
    found, said = classify(request_)
    assert found == "unexplained"
    assert why in said


def test_each_request_has_the_class_of_its_own_case_among_thousands_of_others(story: Story) -> None:
    """Statuses, codes, flags, revisions and failures in random mixtures, joined at once and classified one by one."""
    random, expected = Random(7), []
    for number in range(3000):
        status, code = (random.choice((0, 200, 201, 404, 413, 500, 503, 504)) for _ in range(2))
        flags, copied = random.choice(("", "UH", "DC", "UF,URX", "DI")), random.random() < 0.3
        revision, by = (random.choice(("", "v1", "v2", "v3")) for _ in range(2))
        error = random.choice(list(Failure)) if status == 0 else Failure.NONE
        story.sent(number, status, revision, error)
        entry = Entry(code, flags, by) if random.random() < 0.7 else None
        if entry:
            story.log(f"aa-{number}", code=code, flags=flags or "-", revision=by or "-", cluster="-")
        if copied:
            story.log(f"aa-{number}", host="m-production.example.com-shadow")
        expected.append(classify(Case(status, revision, error, entry, copied)))
    story.ledger()
    assert list(zip(story.rows()["class"], story.rows()["why"], strict=True)) == expected
