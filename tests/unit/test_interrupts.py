"""Ctrl-C during the clean-up waits for its end."""

from __future__ import annotations

import signal

import pytest

from harness.runtime.interrupts import held, sigterm_interrupts


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_a_held_block_is_raised_at_its_end(signum: int) -> None:
    """The clean-up is complete, and the interrupt is not forgotten."""
    done: list[str] = []

    def clean_up() -> None:
        with held():
            signal.raise_signal(signum)
            signal.raise_signal(signum)
            done.append("cleaned up")

    with sigterm_interrupts(), pytest.raises(KeyboardInterrupt):
        clean_up()
    assert done == ["cleaned up"]


def test_held_blocks_nest_and_leave_the_handlers_as_they_were() -> None:
    """The inner end does not let the signal through into the outer block."""
    before = signal.getsignal(signal.SIGINT)
    done: list[str] = []

    def clean_up() -> None:
        with held():
            with held():
                signal.raise_signal(signal.SIGINT)
            done.append("outer")

    with pytest.raises(KeyboardInterrupt):
        clean_up()
    assert done == ["outer"]
    assert signal.getsignal(signal.SIGINT) is before
