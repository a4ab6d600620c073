"""A browser for a module of tests, and each page opened in it with all that it does written down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page

from tests.browser import chromium
from tests.browser.pages import PAGES

WIDE, NARROW = 1280, 360


@dataclass(frozen=True)
class Opened:
    """A page in a browser, what it printed to the console or threw, and what it asked for beside itself."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


Open = Callable[..., Opened]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """For the module alone: as long as it is there, an event loop runs in this thread, and no other may."""
    with chromium.browser() as running:
        yield running


@pytest.fixture(scope="module", params=PAGES)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of the pages, as a file."""
    return PAGES[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture
def open_page(browser: Browser, written: Path) -> Iterator[Open]:
    """Opens the page: colours light or dark, media screen or print, a width in pixels; closed at the end."""
    with opener(browser, written) as opened:
        yield opened


@contextmanager
def opener(browser: Browser, file: Path) -> Iterator[Open]:
    """What opens `file`, in a profile of its own each time."""
    contexts = []

    def open_it(
        colours: Literal["light", "dark"] = "light", media: Literal["screen", "print"] = "screen", width: int = WIDE
    ) -> Opened:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=colours)
        contexts.append(context)
        opened = Opened(context.new_page())
        opened.page.emulate_media(media=media, color_scheme=colours)
        opened.page.on("console", lambda message: opened.complaints.append(message.text))
        opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        opened.page.on("request", lambda request: opened.requests.append(request.url))
        opened.page.goto(file.as_uri())
        return opened

    try:
        yield open_it
    finally:
        for context in contexts:
            context.close()
