"""The one way to wait for something: until it is so, until it cannot be, or until the deadline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import httpx

from harness.errors import PlatformError, ProcessExited, WaitTimeout
from harness.runtime.clock import Deadline
from harness.runtime.process import ending

T = TypeVar("T")


class Watched(Protocol):
    """What `wait` needs to know of a child process."""

    name: str

    def poll(self) -> int | None: ...

    def tail(self, lines: int = 20) -> str: ...


def wait(
    success: Callable[[], T | None],
    *,
    what: str,
    deadline: Deadline,
    child: Watched | None = None,
    fail: Callable[[], str | None] | None = None,
    state: Callable[[], str] | None = None,
    every_s: float = 0.01,
) -> T:
    """Return the first truthy `success()`.

    A refused connection inside `success` means "not yet". Ends early with ProcessExited when `child` has ended, with
    PlatformError when `fail()` gives a reason, and with WaitTimeout at the deadline; each names the last state seen.
    """
    last = "nothing yet"
    while True:
        try:
            if result := success():
                return result
        except httpx.TransportError as error:
            last = f"{type(error).__name__}: {error}"
        if state is not None:
            last = state()
        if fail is not None and (reason := fail()):
            raise PlatformError(f"{what}: {reason}")
        if child is not None and (code := child.poll()) is not None:
            raise ProcessExited(f"{what}: {child.name} {ending(code)}.\n{child.tail()}")
        if deadline.passed():
            log = f"\n{child.tail()}" if child is not None else ""
            raise WaitTimeout(f"{what}: not within the deadline; last seen: {last}{log}")
        deadline.clock.sleep(min(every_s, deadline.remaining_s()))
