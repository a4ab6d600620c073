"""A look at the start and then at a pace, until it is left."""

from __future__ import annotations

import threading

from harness.runtime.memory import MemoryMeter
from harness.runtime.sampler import Sampler


class Looks(Sampler):
    """Counts its looks."""

    def __init__(self, every_s: float) -> None:
        super().__init__("looks", every_s)
        self.count = 0
        self.third = threading.Event()

    def take(self) -> None:
        self.count += 1
        if self.count == 3:
            self.third.set()


def test_it_looks_at_once_and_again_and_no_more_when_it_is_left() -> None:
    with Looks(0.001) as looks:
        assert looks.third.wait(10)
    assert "looks" not in {thread.name for thread in threading.enumerate()}


def test_what_ends_before_its_second_look_was_looked_at() -> None:
    with Looks(3600.0) as looks:
        pass
    assert looks.count == 1


def test_a_short_run_has_a_peak_of_memory() -> None:
    with MemoryMeter() as memory:
        pass
    assert memory.peak_mb > 1
