"""Every page in a real browser: nothing complains, charts are drawn, people get along with keys and screen readers."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.browser.conftest import NARROW, WIDE, Open

LOOKS = (("light", WIDE), ("dark", NARROW))
GRAVE = ("serious", "critical")
RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]},
    "resultTypes": ["violations"],
}

DRAWN = """() => [...document.querySelectorAll('figure.chart .plot > svg')].map(svg => {
  const box = svg.getBoundingClientRect();
  const paths = [...svg.querySelectorAll('path.line, path.dot')];
  const style = paths.map(path => getComputedStyle(path));
  return {
    title: svg.querySelector('title').textContent,
    width: box.width, height: box.height,
    paths: paths.length,
    seen: style.every(s => s.stroke !== 'none' && s.visibility === 'visible' && parseFloat(s.strokeWidth) > 0),
    long: paths.every(path => path.getTotalLength() > 0),
    inside: [...svg.querySelectorAll('path')].every(path => {
      const b = path.getBBox(), most = 1000.5;
      return b.x >= -0.5 && b.y >= -0.5 && b.x + b.width <= most && b.y + b.height <= most; }),
  };
})"""
BEHIND = "() => getComputedStyle(document.body).backgroundColor"
BEYOND = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
OFF_PAPER = """() => [...document.querySelectorAll('body *')].filter(each => !each.closest('svg, .skip-link')
  && each.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(each => each.outerHTML)"""
STOPS = """() => [...document.querySelectorAll("a[href], [tabindex='0'], summary")]
  .filter(each => each.checkVisibility()).length"""
FOCUSED = """() => { const e = document.activeElement, s = getComputedStyle(e), b = e.getBoundingClientRect();
  return {what: e.getAttribute('href') || e.getAttribute('aria-label') || e.tagName,
          outline: s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2,
          seen: b.width > 0 && b.height > 0 && b.bottom > 0 && b.top < innerHeight}; }"""


def grave(page: Page) -> list[str]:
    """What axe-core calls serious or critical, with the first element of each."""
    found: dict[str, Any] = Axe().run(page, options=RULES).response
    return [
        f"{each['id']}: {each['help']}: {each['nodes'][0]['html'][:200]}"
        for each in found["violations"]
        if each["impact"] in GRAVE
    ]


def test_a_page_complains_of_nothing_and_asks_for_nothing(written: Path, open_page: Open) -> None:
    """No console message, no error, no request but for the file itself; in light, dark and print."""
    for colours, media in itertools.product(("light", "dark"), ("screen", "print")):
        opened = open_page(colours, media)
        assert opened.complaints == []
        assert {url for url in opened.requests if not url.startswith("data:")} == {written.as_uri()}


def test_every_chart_is_drawn(open_page: Open) -> None:
    """Each has a size, a name, and lines that are long, coloured and inside; on a screen, a phone and paper."""
    for look in (("light", "screen", WIDE), ("dark", "screen", NARROW), ("dark", "print", WIDE)):
        for chart in open_page(*look).page.evaluate(DRAWN):
            assert chart["title"]
            assert chart["width"] >= 200, chart
            assert chart["height"] >= 100, chart
            assert chart["paths"] > 0, chart
            assert chart["seen"], chart
            assert chart["long"], chart
            assert chart["inside"], chart


@pytest.mark.parametrize(("colours", "width"), LOOKS)
def test_axe_finds_nothing_serious(open_page: Open, colours: str, width: int) -> None:
    assert grave(open_page(colours, "screen", width).page) == []


def test_dark_is_dark_and_paper_is_white(open_page: Open) -> None:
    behind = {
        look: open_page(*look).page.evaluate(BEHIND)
        for look in (("light", "screen"), ("dark", "screen"), ("dark", "print"))
    }

    def brightness(colour: str) -> int:
        return sum(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))

    assert brightness(behind["light", "screen"]) > 600
    assert brightness(behind["dark", "screen"]) < 150
    assert behind["dark", "print"] == "rgb(255, 255, 255)"


def test_nothing_stands_beyond_the_screen_or_the_paper(open_page: Open) -> None:
    """Wide tables scroll in a box of their own; paper has no boxes to scroll."""
    for look in (("light", "screen", WIDE), ("light", "screen", NARROW)):
        assert open_page(*look).page.evaluate(BEYOND) == 0
    paper = open_page("light", "print", 720).page
    assert paper.evaluate(OFF_PAPER) == []
    assert paper.pdf(prefer_css_page_size=True).startswith(b"%PDF")


def test_all_can_be_reached_by_keys_and_is_seen_when_it_is(open_page: Open) -> None:
    """The first stop leads to the result; every further one has an outline and is on the screen; none is a trap."""
    page = open_page().page
    stops = page.evaluate(STOPS)
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUSED)["what"] == "#main"
    page.keyboard.press("Enter")
    assert page.url.endswith("#main")

    page, walked = open_page().page, []
    for _ in range(stops):
        page.keyboard.press("Tab")
        walked.append(page.evaluate(FOCUSED))
    assert [stop for stop in walked if not (stop["outline"] and stop["seen"])] == []
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.tagName") == "BODY"


def test_a_screen_reader_hears_where_it_is_and_what_each_chart_says(open_page: Open) -> None:
    """One main heading, landmarks, a name for every chart, table and box; decoration is silent."""
    page = open_page().page

    assert page.get_by_role("heading", level=1).count() == 1
    assert page.get_by_role("main").count() == page.get_by_role("banner").count() == 1
    for role in ("img", "table", "region", "navigation"):
        assert page.get_by_role(role).count() == page.get_by_role(role, name=re.compile(r"\S")).count()
    assert page.get_by_role("img").count() >= page.locator("figure.chart").count()
