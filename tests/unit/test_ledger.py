"""The ledger's join: every request in exactly one class, and whatever does not fit is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ConfigError, LoadFailed
from harness.load.access_log import AccessLogTail, GatewayEntry
from harness.load.generator import LoadSpec, read_records
from harness.load.ledger import Ledger, Sent, classify, columns, join
from harness.load.records import Failure, LoadFiles, Recorder

OK = GatewayEntry(200, "", "v1", 2.0, 1)


def sent(
    sequence: int = 0, status: int = 200, revision: str = "v1", error: Failure = Failure.NONE, delay_us: int = 100
) -> Sent:
    due = sequence * 1000
    return Sent(sequence, status, revision, error, due, due + delay_us, 1500)


@pytest.mark.parametrize(
    ("request_", "entries", "found"),
    [
        (sent(), [OK], "answered:v1"),
        (sent(status=500), [GatewayEntry(500, "", "v1", 2.0, 1)], "answered:v1"),
        (sent(), [GatewayEntry(200, "DI", "v1", 2.0, 1)], "answered:v1"),
        (sent(), [GatewayEntry(200, "", "", 2.0, 1)], "answered:v1"),
        (sent(), [GatewayEntry(0, "DC", "v2", 1.0, 1), OK], "answered:v1"),
        (sent(status=503, revision=""), [GatewayEntry(503, "UH", "", 0.0, 0)], "refused:UH"),
        (sent(status=503), [GatewayEntry(503, "UF,URX", "v1", 0.0, 2)], "refused:UF,URX"),
        (sent(status=413, revision=""), [GatewayEntry(413, "", "v1", 0.0, 0)], "refused:413"),
        (sent(status=0, error=Failure.TIMEOUT), [GatewayEntry(0, "DC", "v2", 9.0, 1)], "gave up:v2:DC"),
        (sent(status=0, error=Failure.ABANDONED), [OK], "gave up:v1:200"),
        (sent(status=0, error=Failure.DISCONNECTED), [GatewayEntry(0, "DC", "", 9.0, 0)], "gave up:no revision:DC"),
        (sent(status=0, error=Failure.OVERLOADED), [], "never sent:too many in flight"),
        (sent(status=0, error=Failure.NO_CONNECTION), [], "never sent:no connection"),
    ],
)
def test_a_request_that_both_sides_agree_on_has_its_class(
    request_: Sent, entries: list[GatewayEntry], found: str
) -> None:
    """Answered, refused, given up, never sent: with who or why."""
    assert classify(request_, entries) == (found, "")


@pytest.mark.parametrize(
    ("request_", "entries", "why"),
    [
        (sent(), [], "the client says answered 200, the gateway has no record of it"),
        (sent(status=0, error=Failure.TIMEOUT), [], "the client says failed (timeout), the gateway has no record"),
        (sent(revision="v2"), [OK], "served by v2, the gateway says v1"),
        (sent(status=500), [OK], "the client got 500, the gateway sent 200"),
        (sent(status=0, error=Failure.OVERLOADED), [OK], "did not send it, the gateway answered 200"),
    ],
)
def test_a_request_that_the_sides_disagree_on_is_unexplained(
    request_: Sent, entries: list[GatewayEntry], why: str
) -> None:
    """The reason says what each of them holds."""
    found, said = classify(request_, entries)
    assert found == "unexplained"
    assert why in said


def test_the_classes_add_up_to_the_requests_sent() -> None:
    """Unexplained ones included; the gateway's strangers are on top."""
    joined = join([sent(0), sent(1), sent(2)], 3, {0: [OK], 1: [OK], 7: [OK]})
    assert joined.classes == ["answered:v1", "answered:v1", "unexplained"]
    assert joined.counts() == {"answered:v1": 2, "unexplained": 1}
    assert joined.unexplained == 2
    assert joined.examples[1] == "request 7: the gateway saw it, the client does not know it"


def test_a_record_that_the_generator_lost_is_unexplained_once() -> None:
    """The generator says that it scheduled three, and its file has two; the gateway saw the third."""
    joined = join([sent(0), sent(1)], 3, {0: [OK], 1: [OK], 2: [OK]})
    assert joined.unexplained == 1
    assert joined.examples == ("request 2: the client lost its record of it",)


def test_examples_are_few_however_many_requests_are_unexplained() -> None:
    """The count is exact, the list is short."""
    joined = join([sent(i) for i in range(500)], 500, {})
    assert (joined.unexplained, len(joined.examples)) == (500, 20)


def test_the_access_log_is_read_from_where_the_load_began_and_to_the_last_whole_line(tmp_path: Path) -> None:
    """Other loads' lines, half a line, and ids that only look alike are left alone."""
    log = tmp_path / "access.jsonl"
    log.write_text(line("aa-1") + line("bb-1"))
    tail = AccessLogTail(log, "bb")
    whole = line("bb-3", flags="UH", revision=None, cluster=None, code=503)
    with log.open("a") as file:
        file.write(line("bb-2") + line("cc-2") + line("xbb-4") + line("bb-x") + line(None) + whole[:30])
    tail.read()
    assert list(tail.entries) == [2]
    with log.open("a") as file:
        file.write(whole[30:] + line("bb-2"))
    tail.read()
    assert tail.entries == {2: [OK, OK], 3: [GatewayEntry(503, "UH", "", 2.0, 1)]}


def test_reading_again_takes_no_line_twice(tmp_path: Path) -> None:
    """A thousand lines, then one more: each request has one entry."""
    log = tmp_path / "access.jsonl"
    tail = AccessLogTail(log, "aa")
    log.write_text("".join(line(f"aa-{number}") for number in range(1000)))
    tail.read()
    with log.open("a") as file:
        file.write(line("aa-1000"))
    tail.read()
    assert len(tail.entries) == 1001
    assert {len(found) for found in tail.entries.values()} == {1}


def test_a_log_that_does_not_exist_yet_is_empty(tmp_path: Path) -> None:
    """Envoy makes it with the first request; the revision comes from the cluster if it is not logged."""
    tail = AccessLogTail(tmp_path / "later.jsonl", "aa")
    tail.read()
    (tmp_path / "later.jsonl").write_text(line("aa-0", revision="-", cluster="production/m/v7"))
    tail.read()
    assert tail.entries[0][0].revision == "v7"


def test_records_come_back_as_they_were_written_and_a_torn_one_is_left_out(tmp_path: Path) -> None:
    """By sequence, though answers arrive in another order; more than 32 bits of microseconds are kept."""
    files = LoadFiles(tmp_path)
    recorder = Recorder(files)
    recorder.write(1, 5_000_000_000, 5_000_000_100, 900, 200, "v2", Failure.NONE)
    recorder.write(0, 0, 50, 1200, 0, "", Failure.TIMEOUT)
    recorder.write(2, 9, 9, 9, 503, "v1", Failure.NONE)
    recorder.close()
    with files.records.open("ab") as file:
        file.write(b"torn")
    assert read_records(files) == [
        Sent(0, 0, "", Failure.TIMEOUT, 0, 50, 1200),
        Sent(1, 200, "v2", Failure.NONE, 5_000_000_000, 5_000_000_100, 900),
        Sent(2, 503, "v1", Failure.NONE, 9, 9, 9),
    ]
    assert files.records.stat().st_size == 3 * 32 + 4


def test_the_table_has_a_row_for_each_request_with_both_sides() -> None:
    """A request without an entry of the gateway has empty cells there."""
    table = columns([sent(0), sent(1)], ["answered:v1", "unexplained"], {0: [OK]})
    assert {len(column) for column in table.values()} == {2}
    assert table["gateway_code"] == [200, None]
    assert table["schedule_delay_ms"] == [0.1, 0.1]
    assert table["latency_ms"] == [1.5, 1.5]


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
