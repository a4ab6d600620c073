"""Images into a registry of the user's own: named with its prefix, and pushed by Docker with the user's own sign-in."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from harness import images
from harness.errors import PlatformError
from harness.images.engine import docker
from harness.runtime.events import Event, Listener


def push(names: Sequence[str], named: Callable[[str], str], listener: Listener) -> list[str]:
    """Push images of the catalogue, each as `named` says; the names that they have there.

    Errors: CapabilityMissing, with the command, for images that are not here; PlatformError for what Docker refuses.
    """
    images.require(names)
    return [_pushed(name, named(name), listener) for name in names]


def _pushed(name: str, there: str, listener: Listener) -> str:
    began = time.monotonic()

    def tell(verb: str, detail: str = "") -> None:
        data = {"name": there, "title": there, "duration_s": time.monotonic() - began, "detail": detail}
        listener(Event(time.time(), f"step.{verb}", there, detail or there, "info", data))

    tell("started")
    try:
        docker("tag", name, there)
        docker("push", there)
    except PlatformError as error:
        tell("failed", error.message)
        hint = f"docker login {there.partition('/')[0]}"
        raise PlatformError(error.message, hint=hint) from error
    tell("passed")
    return there
