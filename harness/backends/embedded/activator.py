"""What the controller and the autoscaler need of an activator, wherever it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Activator(Protocol):
    """Holds requests to hosts without a replica; every method may be called from any thread.

    One that does not do what it is told raises PlatformError.
    """

    wanted: Callable[[str], None]
    """Called with the host of a request that begins to wait."""
    moved: Callable[[], None]
    """Called when its address is another, or what it was told is lost: it must be told anew."""

    @property
    def address(self) -> tuple[str, int]:
        """Where Envoy sends the requests that are to be held; it listens from the first question on."""
        ...

    def hold(self, host: str, *, within_s: float) -> None:
        """From now on let requests to `host` wait, each at most so long."""
        ...

    def let_go(self, host: str) -> None:
        """Hand back what waits, and what still comes: there is a replica now."""
        ...

    def refuse(self, host: str, why: str) -> None:
        """Answer what waits, and what still comes, with 503 and the reason: there will be no replica."""
        ...

    def held(self) -> dict[str, int]:
        """Host -> requests that wait now."""
        ...

    def close(self) -> None:
        """Drop what waits and listen no more; safe to call twice."""
        ...
