"""`rehearse trend`: the last runs of each kind in a row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from harness._cli_options import Json, Reports
from harness.errors import UsageError
from harness.runtime.paths import new_run_folder, runs_home

if TYPE_CHECKING:
    from harness.compare.trend import Trend

LAST = 30
MOST = 1000


def trend(
    last: Annotated[int, typer.Option("--last", metavar="N", help="How many runs of each kind.")] = LAST,
    title: Annotated[
        str, typer.Option("--title", metavar="TEXT", help="Only runs with this in their title.", show_default=False)
    ] = "",
    reports: Reports = None,
    as_json: Json = False,
) -> None:
    """Draw the last runs in a row, and say what moved.

    Runs of one title are one kind. The newest one's figures are held against the spread of the ones before it.
    """
    if not 2 <= last <= MOST:
        raise UsageError(f"trend: --last: expected a whole number from 2 to {MOST}, got {last}")
    from harness.report.store import read_runs

    home = runs_home(reports)
    records = [record for record in read_runs(home) if title.lower() in record.title.lower()]
    if not any(record.loads for record in records):
        named = f" with {title!r} in its title" if title else ""
        raise UsageError(f"trend: no run with a load{named} in {home}")
    from harness.compare.trend import trend as drawn
    from harness.report.trend import opening, write_trend

    found = drawn(records, last=last)
    page = write_trend(found, new_run_folder(home, "trend"))
    print(
        json.dumps(found.as_json()) if as_json else "\n".join([*lines(found), "", opening(found), f"report   {page}"])
    )


def lines(found: Trend) -> Iterator[str]:
    """A line for each figure of each kind of run."""
    from harness.report.trend import rows

    for track in found.tracks:
        yield f"{track.title}: {track.passed} of {len(track.runs)} runs passed"
        table = rows(track)
        widths = [max(len(row[column]) for row in table) for column in range(4)]
        yield from ("  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in table)
