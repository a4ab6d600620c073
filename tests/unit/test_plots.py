"""Charts: what they draw, and that they can be read without seeing them."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from harness.report._axes import ticks
from harness.report._format import THIN, bound, count, number, percent, seconds
from harness.report._interval import exact_interval
from harness.report.plots import Axis, Line, bar, chart, interval, stack


def drawn(lines: list[Line], y: Axis | None = None) -> ElementTree.Element:
    text = chart(lines, name="c", title="A & B", x=Axis("time", "s"), y=y or Axis("latency", "ms"))
    return ElementTree.fromstring(text)


def test_a_chart_has_a_title_and_its_numbers_in_words() -> None:
    svg = drawn([Line("v1", [(0, 1), (1, 3)]), Line("v2", [(0, 2), (1, 5)], 1)]).find(".//svg[@role='img']")

    assert svg is not None
    assert svg.get("aria-labelledby") == "c-t c-d"
    assert svg.findtext("title") == "A & B"
    assert svg.findtext("desc") == "v1: from 1 to 3, last 3 ms; v2: from 2 to 5, last 5 ms"


def test_points_stand_where_their_values_are() -> None:
    path = drawn([Line("v1", [(0, 0), (5, 2), (10, 4)])]).find(".//path[@class='line k0']")

    assert path is not None
    assert path.get("d") == "M0 1000L500 500L1000 0"


def test_steps_stay_level_until_the_next_value() -> None:
    path = drawn([Line("v1", [(0, 0), (10, 4)], style="steps")]).find(".//path[@class='line k0']")

    assert path is not None
    assert path.get("d") == "M0 1000H1000V0"


def test_lines_differ_by_more_than_colour_and_have_a_legend() -> None:
    figure = drawn([Line("v1", [(0, 1), (1, 2)]), Line("v2", [(0, 1), (1, 2)], 1)])

    assert [item.find("svg/path").get("class") for item in figure.findall("ul/li")] == ["line k0", "line k1"]  # type: ignore[union-attr]


def test_a_percentage_axis_ends_at_100() -> None:
    labels = drawn([Line("v2", [(0, 10), (1, 50)])], Axis("weight", "%", top=100.0)).findall(".//div[@class='y']/span")

    assert [label.text for label in labels] == ["0", "50", "100"]


def test_nothing_to_draw_is_no_chart() -> None:
    assert chart([], name="c", title="t", x=Axis("x"), y=Axis("y")) == ""
    assert chart([Line("a", [(0, float("nan"))])], name="c", title="t", x=Axis("x"), y=Axis("y")) == ""


@pytest.mark.parametrize("points", [[(0.0, 0.0)], [(3.0, 7.0)], [(1.0, 5.0), (1.0, 5.0)], [(0.0, -2.0), (1.0, -1.0)]])
def test_one_point_equal_points_and_negative_values_can_be_drawn(points: list[tuple[float, float]]) -> None:
    for path in drawn([Line("a", points)]).findall(".//path"):
        assert "nan" not in str(path.get("d"))


def test_a_gantt_bar_starts_and_ends_on_the_axis() -> None:
    rect = ElementTree.fromstring(bar(5, 2.5, 10, "passed")).find("rect")
    late = ElementTree.fromstring(bar(10, 0, 10, "failed")).find("rect")

    assert rect is not None
    assert late is not None
    assert (rect.get("x"), rect.get("width"), rect.get("class")) == ("500.0", "250.0", "passed")
    assert float(str(late.get("x"))) + float(str(late.get("width"))) <= 1000


def test_a_rare_part_of_a_stack_is_still_visible() -> None:
    svg = ElementTree.fromstring(
        stack([("answered", 99_999, 0), ("refused", 1, 1), ("lost", 0, 2)], name="s", title="t")
    )

    widths = [float(str(rect.get("width"))) for rect in svg.findall("rect")]
    assert widths == [1000.0, 4.0]
    assert svg.findtext("desc") == "answered: 100 %; refused: 0.00100 %; lost: 0 %"
    assert stack([("none", 0, 0)], name="s", title="t") == ""


def test_an_interval_is_drawn_in_order() -> None:
    svg = ElementTree.fromstring(interval(0.08, 0.12, 0.1, 0.1, 1.0))

    assert [path.get("d") for path in svg.findall("path")] == [
        "M0 5H1000",
        "M80.0 5H120.0",
        "M100.0 5h0.01",
        "M100.0 0V10",
    ]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 17.3, [0, 5, 10, 15, 20]), (0.69, 0.7131, [0.69, 0.7, 0.71, 0.72]), (0, 0, [0, 0.5, 1])],
)
def test_ticks_are_round_numbers_around_the_values(low: float, high: float, expected: list[float]) -> None:
    marks = ticks(low, high)

    assert marks[0] <= low
    assert marks[-1] >= high
    assert high == 0 or marks == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3.14159, "3.14"), (99.96, "100"), (12.0, "12"), (20190, f"20{THIN}190"), (1234.5, f"1{THIN}234"),
        (5.2e-302, "5.2×10⁻³⁰²"), (1e-4, "10⁻⁴"), (-0.005, "−0.00500"), (0.0, "0"), (float("inf"), "∞"),
        (float("nan"), "–"), (5e-324, "4.9×10⁻³²⁴"), (True, "yes"), (None, "–"),
    ],
)  # fmt: skip
def test_numbers_have_three_significant_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_durations_shares_and_counts_carry_one_unit() -> None:
    assert [seconds(value) for value in (0.0123, 0.61, 18.42, 135)] == [
        f"12.3{THIN}ms", f"610{THIN}ms", f"18.4{THIN}s", f"2{THIN}min 15{THIN}s",
    ]  # fmt: skip
    assert percent(0.1162) == f"11.6{THIN}%"
    assert bound(0.005) == f"0.5{THIN}%"
    assert count(3598) == f"3{THIN}598"


@pytest.mark.parametrize(("hits", "total"), [(198, 1988), (519, 1021), (1, 7), (4492, 50_000), (3, 4)])
def test_the_interval_is_the_exact_one(hits: int, total: int) -> None:
    """Against SciPy's beta quantiles (Clopper and Pearson)."""
    from scipy.stats import beta

    expected = (beta.ppf(0.0005, hits, total - hits + 1), beta.ppf(0.9995, hits + 1, total - hits))

    assert exact_interval(hits, total) == pytest.approx(expected, rel=1e-9)


def test_the_interval_reaches_the_ends_when_the_counts_do() -> None:
    assert exact_interval(0, 100)[0] == 0.0
    assert exact_interval(5, 5)[1] == 1.0
    assert exact_interval(0, 0) == (0.0, 1.0)
