"""Space for a run: asked for before, kept for the report."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import PlatformError
from harness.runtime import space


def test_too_little_space_is_told_with_both_numbers_even_before_the_folder_is_there(tmp_path: Path) -> None:
    """The nearest folder that exists says which disk it will be."""
    space.require(tmp_path / "not/yet", needed_mb=0.001)
    with pytest.raises(PlatformError, match=r"is on a disk with \d+ MB free; a run needs 1000000000000 MB\."):
        space.require(tmp_path / "not/yet", needed_mb=1e12)
    assert not (tmp_path / "not").exists()


def test_a_reserve_takes_real_space_until_it_is_released(tmp_path: Path) -> None:
    """A sparse file would hold nothing."""
    reserve = space.Reserve(tmp_path / "reserve", 1.0)
    assert (tmp_path / "reserve").stat().st_blocks * 512 >= space.MB
    reserve.release()
    reserve.release()
    assert list(tmp_path.iterdir()) == []
