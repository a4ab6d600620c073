"""What is read of the gateway's log while it grows, and what the generator's records keep."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.load.records import Failure, LoadFiles, Recorder
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


def test_records_are_in_the_file_as_soon_as_they_are_written(tmp_path: Path) -> None:
    """In any order, and without a close: what becomes of the process does not matter; 32 bits of seconds are kept."""
    recorder = Recorder(LoadFiles(tmp_path), share=1, shares=2)
    recorder.write(3, 5_000_000_000, 5_000_000_100, 900, 200, "v2", Failure.NONE)
    recorder.write(1, 0, 50, 1200, 0, "", Failure.TIMEOUT)
    written = LoadFiles(tmp_path)
    sizes = (written.records(1).stat().st_size, written.revisions(1).read_text())
    recorder.close()
    assert sizes == (2 * 32, "v2\n")
