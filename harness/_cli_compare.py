"""`rehearse compare`: two runs side by side, which differences are real, and an exit code for a budget."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness._cli_options import Json, Reports
from harness.compare import BUDGET, ERROR_RATE, Comparison, Key, Sample, Verdict, samples
from harness.compare import compare as compared
from harness.errors import UsageError
from harness.report import _compare_view as view
from harness.runtime.paths import find_run, new_run_folder, runs_home

if TYPE_CHECKING:
    from harness.report.record import RunRecord


def compare(
    before: Annotated[
        str, typer.Argument(metavar="A", help="The run to measure by: its id, the start of it, or its folder.")
    ],
    after: Annotated[str, typer.Argument(metavar="B", help="The run to judge; also latest.")],
    budget: Annotated[
        float, typer.Option("--budget", metavar="SHARE", help="How much worse B may be: 0.1 is 10 %.")
    ] = BUDGET,
    error_rate: Annotated[
        float, typer.Option("--error-rate", metavar="SHARE", help="How often a comparison may err by chance.")
    ] = ERROR_RATE,
    reports: Reports = None,
    as_json: Json = False,
) -> None:
    """Put two runs side by side, and say which differences are real.

    Every load that both have is compared by failures, good answers and latency percentiles; each change has an
    interval. The exit code is 1 if one is worse by more than the budget beyond chance, if B lacks a load of A, or if
    nothing can be judged.
    """
    _check("--budget", budget, 0.0, 0.99)
    _check("--error-rate", error_rate, 1e-9, 0.5)
    home = runs_home(reports)
    one, other = _read(before, home), _read(after, home)
    found = compared(one[1], other[1], budget=budget, error_rate=error_rate)
    if not found.rows:
        raise UsageError(
            f"compare: {one[0].run_id} and {other[0].run_id} have no load in common: {_loads(one)}; {_loads(other)}",
            hint="The loads of a capacity search have rates of their own; rehearse trend has its result.",
        )
    from harness.report.compare import write_comparison

    page = write_comparison(found, one, other, new_run_folder(home, "compare"))
    print(json.dumps(found.as_json()) if as_json else "\n".join([*lines(found), f"report   {page}"]))
    raise typer.Exit(0 if found.passed else 1)


def _check(flag: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise UsageError(f"compare: {flag}: expected a share from {least:g} to {most:g}, got {value:g}")


def _read(run: str, home: Path) -> tuple[RunRecord, Mapping[Key, Sample]]:
    from harness.report.store import load_record

    folder = find_run(run, home)
    record = load_record(folder)
    return record, samples(record, folder)


def _loads(run: tuple[RunRecord, Mapping[Key, Sample]]) -> str:
    record, found = run
    return f"{record.run_id} has {', '.join(name for name, _ in found) or 'none'}"


def lines(found: Comparison) -> Iterator[str]:
    """The table of quantities, and the sum of it."""
    rows: list[tuple[str, ...]] = [("load", "quantity", "A", "B", "change", "interval", "difference", "budget")]
    for row in found.rows:
        seen = [view.quantity(value, row.unit) for value in (row.before, row.after)]
        known = row.verdict is not Verdict.WITHHELD
        told = (view.change(row.ratio.observed), view.between(row.ratio)) if known else ("–", "–")
        rows.append((row.load, view.named(row.metric), *seen, *told, row.verdict.value, row.budget.value))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    yield from ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    withheld = dict.fromkeys(f"{row.load}: {row.note}" for row in found.of(Verdict.WITHHELD))
    yield from (f"withheld {why}" for why in withheld)
    yield from (f"note     {note}" for note in found.notes)
    yield from (f"alone    {load} is in {where} only" for load, where in found.alone.items())
    yield ""
    yield f"{found.outcome.value.upper()}: {view.opening(found)}"
