"""What is read of the gateway's log while it grows, and what the generator's records keep."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.load.records import BATCH, RECORD, Failure, LoadFiles, Recorder
from tests.unit.load_story import STARTED_AT, Story, line


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    with contextlib.closing(Story(tmp_path)) as story:
        yield story


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


def test_records_have_their_places_in_whatever_order_they_are_written(tmp_path: Path) -> None:
    """Share 1 of 2 has sequences 1, 3, 5, ...; what was flushed stays, whatever becomes of the process."""
    files = LoadFiles(tmp_path)
    with contextlib.closing(Recorder(files, share=1, shares=2)) as recorder:
        for sequence in (3, 1, 9, 7):
            recorder.write(sequence, 5_000_000_000 + sequence, 5_000_000_100, 900, 200, "v2", Failure.NONE)
        recorder.flush()
        recorder.write(5, 0, 50, 1200, 0, "", Failure.TIMEOUT)
        first = [each[0] for each in RECORD.iter_unpack(files.records(1).read_bytes())]
        recorder.flush()
        written = list(RECORD.iter_unpack(files.records(1).read_bytes()))
    assert first == [2, 4, 0, 8, 10]
    assert written[1] == (4, 200, 1, Failure.NONE, 5_000_000_003, 5_000_000_100, 900)
    assert written[2] == (6, 0, 0, Failure.TIMEOUT, 0, 50, 1200)
    assert files.revisions(1).read_text() == "v2\n"


def test_a_full_batch_of_records_is_written_at_once(tmp_path: Path) -> None:
    """So that what waits in memory is bounded."""
    with contextlib.closing(Recorder(LoadFiles(tmp_path))) as recorder:
        for sequence in range(BATCH + 1):
            recorder.write(sequence, 0, 0, 0, 200, "v1", Failure.NONE)
        assert LoadFiles(tmp_path).records(0).stat().st_size == BATCH * RECORD.size
