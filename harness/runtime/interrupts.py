"""Ctrl-C and SIGTERM: they end the work, never the cleaning up after it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Within it, SIGTERM does what Ctrl-C does: the report is still written and the children are gone."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def held() -> Iterator[None]:
    """Within it, SIGINT and SIGTERM wait for its end, so that a second Ctrl-C cannot leave a child or half a report.

    Only for what ends by itself within seconds. In other threads than the main one, which signals never reach, it does
    nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    before = {signum: signal.signal(signum, lambda number, _: came.append(number)) for signum in SIGNALS}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, signal.SIG_DFL if handler is None else handler)
    if came:
        signal.raise_signal(came[0])


def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
