"""Work in a thread while a block lasts."""

from __future__ import annotations

import pytest

from harness.errors import PlatformError
from harness.runtime.background import Background


class Work(Background):
    def __init__(self, fails: PlatformError | None = None) -> None:
        super().__init__("work")
        self.fails, self.ended = fails, False

    def run(self) -> None:
        if self.fails is not None:
            raise self.fails
        self.ended = self.stopped.wait(10)


def test_it_goes_on_until_the_block_ends_and_is_waited_for() -> None:
    with Work() as work:
        assert not work.ended
    assert work.ended


def block(work: Work, error: Exception | None = None) -> None:
    """A block that waits for its work's end, and may fail then."""
    with work:
        work._thread.join()
        if error is not None:
            raise error


def test_what_ends_it_is_raised_at_the_end_of_the_block() -> None:
    with pytest.raises(PlatformError, match="gone"):
        block(Work(PlatformError("gone")))


def test_an_error_of_the_block_is_not_hidden_by_its_own() -> None:
    with pytest.raises(ValueError, match="of the block"):
        block(Work(PlatformError("gone")), ValueError("of the block"))
