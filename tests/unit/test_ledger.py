"""The ledger of a whole load: nothing is counted twice, nothing is forgotten, and whatever does not fit is said."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.errors import LoadFailed
from harness.lifecycle.slo import SLO
from harness.load import Ledger
from harness.load.latency import Latencies
from harness.load.records import Failure
from harness.load.timeline import Timeline
from harness.report.record import ShapeRecord
from tests.unit.load_story import STARTED_AT, Story


@pytest.fixture
def stories(tmp_path: Path) -> Iterator[Callable[..., Story]]:
    with contextlib.ExitStack() as stack:
        yield lambda **fields: stack.enter_context(contextlib.closing(Story(tmp_path, **fields)))


@pytest.fixture
def story(stories: Callable[..., Story]) -> Story:
    return stories()


def test_the_classes_add_up_to_the_requests_sent(story: Story) -> None:
    """Unexplained ones included; the gateway's strangers are on top, however far their numbers are."""
    for number in range(3):
        story.sent(number)
    for number in (0, 1, 7, 999_999):
        story.log(f"aa-{number}")
    ledger = story.ledger()
    assert ledger.classes == {"answered:v1": 2, "unexplained": 1}
    assert ledger.unexplained == 3
    assert ledger.examples == (
        "request 2: the client says answered 200, the gateway has no record of it",
        "request 7: the gateway saw it, the client does not know it",
        "request 999999: the gateway saw it, the client does not know it",
    )
    assert story.rows()["why"] == ["", "", "the client says answered 200, the gateway has no record of it"]


def test_a_record_that_the_generator_lost_is_unexplained_once(story: Story) -> None:
    """The generator says that it scheduled three, and its file has two; the gateway saw the third."""
    for number in range(3):
        story.log(f"aa-{number}")
    story.sent(0)
    story.sent(2)
    ledger = story.ledger()
    assert (ledger.sent, ledger.unexplained) == (2, 1)
    assert ledger.examples == ("request 1: the client lost its record of it",)
    assert story.rows()["sequence"] == [0, 2]


def test_examples_are_few_however_many_requests_are_unexplained(story: Story) -> None:
    """The count is exact, the list is short, the ledger has them all."""
    for number in range(500):
        story.sent(number)
    ledger = story.ledger()
    assert (ledger.unexplained, len(ledger.examples)) == (500, 20)
    assert story.rows()["class"] == ["unexplained"] * 500


def test_several_processes_have_the_requests_of_one_load(stories: Callable[..., Story]) -> None:
    """Three write files of their own, with their own numbers for revisions; one of them has made fewer requests."""
    story = stories(shares=3)
    for number in (0, 1, 2, 3, 4, 5, 6, 8):
        story.sent(number, revision="v2" if number % 2 else "v1")
        story.log(f"aa-{number}", revision="v2" if number % 2 else "v1")
    ledger = story.ledger()
    assert (ledger.classes, ledger.unexplained) == ({"answered:v1": 5, "answered:v2": 3}, 0)
    assert story.rows()["sequence"] == [0, 1, 2, 3, 4, 5, 6, 8]
    assert story.rows()["revision"] == ["v1", "v2", "v1", "v2", "v1", "v2", "v1", "v1"]


def test_a_request_that_the_gateway_sent_again_is_one_request(story: Story) -> None:
    """Attempts in one line, or a line each: the last one counts."""
    story.sent(0)
    story.log("aa-0", attempts=3)
    story.sent(1)
    story.log("aa-1", code=0, flags="DC", revision="v2")
    story.log("aa-1")
    ledger = story.ledger()
    assert (ledger.classes, ledger.unexplained, ledger.retried) == ({"answered:v1": 2}, 0, 1)
    assert story.rows()["gateway_attempts"] == [3, 1]


def test_a_mirrored_copy_is_matched_to_its_request_whichever_is_logged_first(story: Story) -> None:
    """The copy's answer is in its own columns; it never is the answer of the request."""
    story.sent(0)
    story.log("aa-0", host="m-production.example.com")
    story.log("aa-0", host="m-production.example.com-shadow", code=500, revision="v2", ms=7)
    story.sent(1)
    story.log("aa-1", host="m-production.example.com-shadow:8080", code=503, flags="UH", revision="v2", ms=8)
    story.log("aa-1", host="m-production.example.com")
    story.sent(2)
    story.log("aa-2", host="m-production.example.com")
    ledger = story.ledger()
    assert (ledger.classes, ledger.unexplained, ledger.mirrored) == ({"answered:v1": 3}, 0, 2)
    rows = story.rows()
    assert rows["copy_code"] == [500, 503, None]
    assert rows["copy_flags"] == ["", "UH", None]
    assert rows["copy_ms"] == [7.0, 8.0, None]
    assert rows["gateway_code"] == [200, 200, 200]


def test_a_copy_without_its_request_is_unexplained(story: Story) -> None:
    """Of a request that the client never sent, that the gateway did not log, or that nobody knows."""
    shadow = {"host": "m-production.example.com-shadow"}
    story.sent(0, 0, "", Failure.OVERLOADED)
    story.log("aa-0", **shadow)
    story.sent(1)
    story.log("aa-1", **shadow)
    story.log("aa-9", **shadow)
    ledger = story.ledger()
    assert ledger.unexplained == 3
    assert ledger.examples == (
        "request 0: the client did not send it, the gateway has a mirrored copy of it",
        "request 1: the client says answered 200, the gateway has no record of it",
        "request 9: the gateway saw it, the client does not know it",
    )


def test_what_died_with_the_gateway_is_told_apart_from_what_nobody_explains(story: Story) -> None:
    """It died after 5 s: a request under way then is lost, an answer just before it has lost its line."""
    story.sent(0, at_ms=4900)
    story.sent(1, 0, "", Failure.DISCONNECTED, at_ms=4950, ms=60)
    story.sent(2, 0, "", Failure.TIMEOUT, at_ms=3000, ms=10_000)
    story.sent(3, 0, "", Failure.NO_CONNECTION, at_ms=5010)
    ledger = story.ledger(deaths=(STARTED_AT + 5.0,))
    assert ledger.classes == {"lost:gateway died": 2, "answered:v1": 1, "never sent:no connection": 1}
    assert (ledger.unlogged, ledger.unexplained) == (1, 0)


def test_a_death_explains_nothing_that_ended_well_before_or_began_well_after(story: Story) -> None:
    """Two seconds from the death the gateway's log was written out, or the next gateway was there."""
    story.sent(0, at_ms=2000)
    story.sent(1, 0, "", Failure.DISCONNECTED, at_ms=2000)
    story.sent(2, at_ms=3000, ms=3000)
    ledger = story.ledger(deaths=(STARTED_AT + 4.0,))
    assert ledger.classes == {"unexplained": 3}


def test_every_sequence_has_its_user_and_each_user_about_as_many_requests(stories: Callable[..., Story]) -> None:
    """The column repeats what was sent in x-user-id."""
    story = stories(users=10)
    for number in range(1000):
        story.sent(number)
        story.log(f"aa-{number}")
    story.ledger()
    users = story.rows()["user"]
    assert users[:3] == [0, 6, 2]
    assert {user: users.count(user) for user in range(10)} == pytest.approx(dict.fromkeys(range(10), 100), abs=3)


def test_latency_is_judged_from_the_intended_send_against_the_slo(story: Story) -> None:
    """Nothing slower than 100 ms in 2,000 requests keeps a bound of 5 %; a tenth of them does not."""
    for number in range(2000):
        story.sent(number, ms=5)
        story.log(f"aa-{number}")
    kept = story.ledger(slo=SLO(slow=0.05, slower_than_ms=100)).latency_verdict
    assert kept is not None
    assert (kept.decision, kept.requests, kept.bad) == ("promote", 2000, 0)
    for number in range(0, 2000, 10):
        story.sent(number, ms=150)
    broken = story.ledger(slo=SLO(slow=0.05, slower_than_ms=100)).latency_verdict
    assert broken is not None
    assert (broken.decision, broken.observed) == ("roll back", 0.1)


def test_the_verdict_on_latency_is_withheld_when_the_generator_itself_was_late(story: Story) -> None:
    """0.1 ms of schedule delay are over a tenth of 0.5 ms, and the ledger says so."""
    for number in range(2000):
        story.sent(number, ms=0.5)
        story.log(f"aa-{number}")
    ledger = story.ledger(slo=SLO())
    assert ledger.latency_verdict is None
    assert ledger.distrust == (
        "the load generator sent late: schedule delay p99 0.1 ms is over 10% of a latency p99 of 0.5 ms"
    )


def test_a_ledger_with_unexplained_requests_does_not_pass(tmp_path: Path) -> None:
    """The error names the load, the count and examples; without any, nothing is raised."""
    ledger(tmp_path, unexplained=0).check()
    with pytest.raises(LoadFailed, match="load steady: 2 of 10 requests are unexplained: request 3: lost"):
        ledger(tmp_path, unexplained=2, examples=("request 3: lost",)).check()


def test_the_run_record_names_the_ledger_inside_the_run_folder(tmp_path: Path) -> None:
    """So that a moved run folder still renders."""
    record = ledger(tmp_path).record("m", tmp_path)
    assert record.ledger == "load/ledger.parquet"
    assert sum(record.classes.values()) == record.sent
    assert ledger(tmp_path).answered("v1") == 10


def ledger(folder: Path, unexplained: int = 0, examples: tuple[str, ...] = ()) -> Ledger:
    return Ledger(
        name="steady", target_rps=10.0, shape=ShapeRecord(kind="steady"), sent=10, classes={"answered:v1": 10},
        unexplained=unexplained, examples=examples, latency=(), overall=Latencies().overall(),
        timeline=Timeline().finished([""]), started_at=0.0, duration_s=1.0, achieved_rps=10.0,
        schedule_delay_p50_ms=0.1, schedule_delay_p99_ms=0.2, path=folder / "load" / "ledger.parquet",
    )  # fmt: skip
