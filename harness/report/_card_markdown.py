"""A model card as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from harness.report import _format as fmt
from harness.report._card_view import Card, Figure, interval

RESULTS = {True: "passed", False: "**failed**", None: "not judged"}


def markdown(card: Card) -> str:
    """The whole card; text of others is kept from being read as markup."""
    return "\n".join(_lines(card)) + "\n"


def _lines(card: Card) -> Iterator[str]:
    yield f"# Model card: {_plain(card.title)}"
    yield from ("", f"From the record of run {card.run.run_id}, {fmt.when(card.run.started_at)}.", "")
    yield f"Aliases: {', '.join(card.model.aliases) or 'none'}. Owner: {_plain(card.words.owner or 'not stated')}."
    yield from ("", "## Intended use", "", _plain(card.words.intended_use or "Not stated."))
    if card.words.not_for:
        yield from ("", f"Not for: {_plain(card.words.not_for)}")
    yield from ("", "## Data", "", *_table(("", ""), card.data))
    yield from ("", "## Metrics", "", "On held-out rows; intervals hold with 95 %.", "", *_figures(card.metrics))
    if card.slices:
        yield from ("", "## Slices", "", *_figures(card.slices))
    yield from ("", "## Checks", "", *_checks(card))
    if card.gate is not None:
        yield from ("", "## Promotion gate", "", *_gate(card))
    yield from ("", "## Limitations", "", *(f"- {_plain(each)}" for each in card.limitations))
    yield from ("", "## Training", "", *_table(("parameter", "value"), card.params))
    yield from ("", "## Lineage", "", *_table(("", ""), card.lineage))
    for rollout in card.rollouts:
        yield from ("", "## Release", "", f"{_plain(rollout.canary)} was {rollout.outcome}: {_plain(rollout.reason)}")


def _figures(figures: Sequence[Figure]) -> Iterator[str]:
    rows = ((each.name, f"{each.value:.4f}", interval(each) or "–") for each in figures)
    return _table(("metric", "value", "95 % interval"), rows)


def _checks(card: Card) -> Iterator[str]:
    if not card.results:
        yield "None was made in this run."
        return
    rows = ((each.name, each.observed, each.required, RESULTS[each.passed]) for each in card.results)
    yield from _table(("check", "observed", "required", "result"), rows)


def _gate(card: Card) -> Iterator[str]:
    assert card.gate is not None
    lines = [line for line in card.gate.lines if not line.name.startswith("check: ")]
    yield from _table(
        ("line", "observed", "required", "result"),
        ((line.name, line.observed, line.required, RESULTS[line.passed]) for line in lines),
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    yield _row(head)
    yield _row(["---"] * len(head))
    yield from map(_row, rows)


def _row(cells: Sequence[Any]) -> str:
    return f"| {' | '.join(each if each in RESULTS.values() else _plain(fmt.scalar(each)) for each in cells)} |"


def _plain(text: str) -> str:
    """Text in one line that is neither markup nor the end of a cell."""
    told = " ".join(text.split()).replace("\\", "\\\\")
    for mark in "|*_`[]<":
        told = told.replace(mark, f"\\{mark}" if mark != "<" else "&lt;")
    return told
