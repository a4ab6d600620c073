"""Debian's Chromium for the tests of the pages: the one that is here, else installed where apt may be used."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

from harness.images import apt
from harness.runtime.paths import state_home

NAMES = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
)


def program() -> str:
    """Its path; CapabilityMissing, with the command for a person, where it is not here and cannot be installed."""
    if found := _here():
        return found
    with (state_home() / "chromium.lock").open("w") as lock:  # two workers of one test session need it at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _here():
            # the last one is for Playwright's own driver
            apt.install(
                "chromium", "fonts-dejavu-core", "libatomic1", what="Chromium, in which the pages are looked at,"
            )
    return _here() or NAMES[0]


def _here() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def browser() -> Iterator[Browser]:
    """A headless one with a profile of its own, which is gone afterwards."""
    path = program()
    sandbox = () if os.geteuid() else ("--no-sandbox",)  # Chromium refuses to sandbox itself as root
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=[*QUIET, *sandbox])
        yield running
        running.close()
