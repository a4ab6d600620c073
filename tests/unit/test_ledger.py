"""The ledger's join: every request in exactly one class, and whatever does not fit is said."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ConfigError, LoadFailed
from harness.lifecycle.slo import SLO
from harness.load import Ledger, LoadSpec
from harness.load.access_log import AccessLogTail
from harness.load.account import account
from harness.load.join import Case, Entry, classify
from harness.load.records import Failure, LoadFiles, Recorder, write_json

OK = Entry(200, "", "v1")
STARTED_AT = 1_000_000.0


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


@dataclass
class Story:
    """A load's files as its processes leave them: `sent` and `log` write, `ledger` accounts."""

    folder: Path
    shares: int = 1
    users: int = 0

    def __post_init__(self) -> None:
        self.files = LoadFiles(self.folder / "load")
        self.files.folder.mkdir()
        self.access_log = self.folder / "access.jsonl"
        self.access_log.touch()
        self.payload = self.folder / "payload.jsonl"
        self.payload.write_text("{}\n")
        self.tail = AccessLogTail(self.access_log, "aa", self.files, 10_000)
        self.recorders = [Recorder(self.files, share, self.shares) for share in range(self.shares)]
        self.scheduled = [0] * self.shares

    def sent(
        self,
        sequence: int,
        status: int = 200,
        revision: str = "v1",
        error: Failure = Failure.NONE,
        *,
        ms: float = 1.5,
        at_ms: int | None = None,
    ) -> None:
        """One request, sent 0.1 ms late; due at `at_ms`, or else at a thousand a second."""
        due = 1000 * (sequence if at_ms is None else at_ms)
        share = sequence % self.shares
        self.scheduled[share] = max(self.scheduled[share], sequence // self.shares + 1)
        self.recorders[share].write(sequence, due, due + 100, int(ms * 1000), status, revision, error)

    def log(self, request_id: str | None, **changed: Any) -> None:
        with self.access_log.open("a") as file:
            file.write(line(request_id, **changed))

    def ledger(self, deaths: tuple[float, ...] = (), slo: SLO | None = None) -> Ledger:
        self.tail.read()
        write_json(self.files.go, {"origin": 0.0, "started_at": STARTED_AT})
        for share, requests in enumerate(self.scheduled):
            told = {"requests": requests, "left": requests, "duration_s": 1.0, "cpu": 0.1}
            write_json(self.files.finished(share), told)
        spec = LoadSpec(
            "test", "http://x", "h", "/v1", self.payload, processes=self.shares, users=self.users, arrivals="poisson"
        )
        found = account(spec, self.files, self.tail, self.folder / "ledger.parquet", deaths, slo)
        assert sum(found.classes.values()) == found.sent
        return found

    def rows(self) -> dict[str, list[Any]]:
        import pyarrow.parquet as pq

        return dict(pq.read_table(self.folder / "ledger.parquet").to_pydict())

    def close(self) -> None:
        self.tail.close()
        for recorder in self.recorders:
            recorder.close()


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


def test_the_access_log_is_read_from_where_the_load_began_and_to_the_last_whole_line(story: Story) -> None:
    """Other loads' lines, half a line, and ids that only look alike are left alone."""
    for number in range(5):
        story.sent(number, 503, "")
    with story.access_log.open("a") as log:
        whole = line("aa-3", flags="UH", revision=None, cluster=None, code=503)
        log.write(line("bb-1") + line("aaa-2") + line("xaa-4") + line("aa-x") + line(None) + whole[:30])
    story.tail.read()
    assert story.tail.taken == 0
    with story.access_log.open("a") as log:
        log.write(whole[30:])
    ledger = story.ledger()
    assert ledger.classes == {"unexplained": 4, "refused:UH": 1}


def test_reading_again_takes_no_line_twice(story: Story) -> None:
    """A thousand lines, then one more."""
    for number in range(1000):
        story.log(f"aa-{number}")
    story.tail.read()
    story.log("aa-1000")
    story.tail.read()
    assert story.tail.taken == 1001


def test_a_line_that_a_killed_gateway_left_unfinished_hides_no_other(story: Story) -> None:
    """The next gateway appends to the same file, right behind the half line."""
    story.sent(0)
    story.sent(1)
    with story.access_log.open("a") as log:
        log.write(line("aa-0")[:40] + line("aa-1"))
    ledger = story.ledger(deaths=(STARTED_AT,))
    assert (ledger.classes, ledger.unlogged) == ({"answered:v1": 2}, 1)


def test_a_log_that_does_not_exist_yet_is_empty(story: Story) -> None:
    """Envoy makes it with the first request; the revision comes from the cluster if it is not logged."""
    story.access_log.unlink()
    story.tail.read()
    story.sent(0, revision="v7")
    story.log("aa-0", revision="-", cluster="production/m/v7")
    assert story.ledger().classes == {"answered:v7": 1}


def test_records_are_in_the_file_as_soon_as_they_are_written(tmp_path: Path) -> None:
    """In any order, and without a close: what becomes of the process does not matter; 32 bits of seconds are kept."""
    recorder = Recorder(LoadFiles(tmp_path), share=1, shares=2)
    recorder.write(3, 5_000_000_000, 5_000_000_100, 900, 200, "v2", Failure.NONE)
    recorder.write(1, 0, 50, 1200, 0, "", Failure.TIMEOUT)
    written = LoadFiles(tmp_path)
    sizes = (written.records(1).stat().st_size, written.revisions(1).read_text())
    recorder.close()
    assert sizes == (2 * 32, "v2\n")


def test_a_ledger_with_unexplained_requests_does_not_pass(tmp_path: Path) -> None:
    """The error names the load, the count and examples; without any, nothing is raised."""
    ledger(tmp_path, unexplained=0).check()
    with pytest.raises(LoadFailed, match="load steady: 2 of 10 requests are unexplained: request 3: lost"):
        ledger(tmp_path, unexplained=2, examples=("request 3: lost",)).check()


def test_the_run_record_names_the_ledger_inside_the_run_folder(tmp_path: Path) -> None:
    """So that a moved run folder still renders."""
    record = ledger(tmp_path).record("m", 100.0, tmp_path)
    assert record.ledger == "load/ledger.parquet"
    assert sum(record.classes.values()) == record.sent
    assert ledger(tmp_path).answered("v1") == 10


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"rps": 0}, "load.rps: expected a number from 0.1 to 20000, got 0"),
        ({"rps": float("inf")}, "load.rps"),
        ({"max_s": -1}, "load.max_s"),
        ({"connections": 0}, "load.connections"),
        ({"rps": True}, "load.rps"),
        ({"arrivals": "bursts"}, "load.arrivals: expected constant or poisson, got 'bursts'"),
        ({"processes": 0}, "load.processes: expected a whole number from 1 to"),
        ({"processes": 4096}, "load.processes: expected a whole number from 1 to"),
        ({"users": -1}, "load.users: expected a whole number from 0 to"),
        ({"users": 2.5}, "load.users: expected a whole number from 0 to"),
        ({"path": "v1"}, "load.path: expected a path that starts with '/', got 'v1'"),
        ({"payload": Path("no-such-file")}, "load.payload: no-such-file is missing or empty"),
    ],
)
def test_a_load_that_makes_no_sense_is_one_clear_line(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    """The field and what is allowed."""
    payload = tmp_path / "payload.jsonl"
    payload.write_text("{}\n")
    with pytest.raises(ConfigError) as caught:
        LoadSpec(**{"name": "a", "url": "http://x", "host": "h", "path": "/v1", "payload": payload, **fields})
    assert words in str(caught.value)


def line(request_id: str | None, **changed: Any) -> str:
    entry = {"id": request_id, "code": 200, "flags": "-", "revision": "v1", "cluster": "c", "ms": 2, "attempts": 1}
    return json.dumps({**entry, **changed}) + "\n"


def ledger(folder: Path, unexplained: int = 0, examples: tuple[str, ...] = ()) -> Ledger:
    return Ledger(
        name="steady", sent=10, classes={"answered:v1": 10}, unexplained=unexplained, examples=examples, latency=(),
        series=(), started_at=0.0, duration_s=1.0, achieved_rps=10.0, schedule_delay_p50_ms=0.1,
        schedule_delay_p99_ms=0.2, path=folder / "load" / "ledger.parquet",
    )  # fmt: skip
