"""`rehearse drift-bench`: false alarms and delays of the drift check, over a catalogue of shifts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from harness._cli_options import Json, Reports
from harness.errors import UsageError
from harness.runtime.paths import new_run_folder, runs_home

if TYPE_CHECKING:
    from harness.drift_bench import BenchResult


def _count(name: str, text: str) -> typer.models.OptionInfo:
    found: typer.models.OptionInfo = typer.Option(name, metavar="N", min=1, help=text)
    return found


def drift_bench(
    unshifted: Annotated[int, _count("--unshifted", "Windows without a shift.")] = 2_000,
    trials: Annotated[int, _count("--trials", "Trials of each shift.")] = 40,
    windows: Annotated[int, _count("--windows", "Windows of a trial, at most.")] = 24,
    rows: Annotated[int, _count("--rows", "Rows of a window.")] = 400,
    reference_rows: Annotated[int, _count("--reference-rows", "Rows of the training reference.")] = 8_000,
    per_day: Annotated[
        float, typer.Option("--false-alarms-per-day", metavar="NUMBER", help="The rate that the thresholds are for.")
    ] = 0.1,
    looks: Annotated[float, typer.Option("--looks-per-day", metavar="NUMBER", help="Windows a day.")] = 24.0,
    shift: Annotated[
        list[str] | None, typer.Option("--shift", metavar="NAME", help="Only this one; may be given several times.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="The same seed, the same figures.")] = 1,
    reports: Reports = None,
    as_json: Json = False,
) -> None:
    """Measure how often the drift check errs, and how soon it finds what.

    Windows of a made-up population whose truth is known; the exit code is 1 if the stated rate of false alarms is
    refuted. Shares have exact intervals (Clopper-Pearson, 95 %). Takes about four minutes.
    """
    from harness.drift_bench import CATALOGUE, Plan, run
    from harness.report.drift_bench import write_bench

    known = {each.name: each for each in CATALOGUE}
    if wrong := [name for name in shift or () if name not in known]:
        raise UsageError(f"drift-bench: --shift: expected {', '.join(known)}, got {wrong[0]!r}")
    plan = Plan(
        unshifted=unshifted,
        trials=trials,
        windows=windows,
        rows=rows,
        reference_rows=reference_rows,
        false_alarms_per_day=per_day,
        looks_per_day=looks,
        seed=seed,
    )
    progress = None if as_json else _progress
    found = run(plan, progress, tuple(known[name] for name in shift) if shift else CATALOGUE)
    page = write_bench(found, new_run_folder(runs_home(reports), "drift-bench"))
    typer.echo(found.model_dump_json() if as_json else "\n".join([*lines(found), f"page: {page}"]))
    raise typer.Exit(0 if found.kept else 1)


def lines(found: BenchResult) -> Iterator[str]:
    """The figures as a table."""
    measured, low, high = found.per_day
    said = "kept" if found.kept else "REFUTED"
    yield (
        f"false alarms: {found.false_alarms.count} of {found.false_alarms.trials:,} windows without a shift, "
        f"{measured:.3f} a day ({low:.3f} to {high:.3f}); stated {found.false_alarms_per_day:g}: {said}"
    )
    yield f"{'shift':<18} {'found':<24} {'in the first window':<24} {'median':>6} {'worst':>6}  found by"
    for each in found.shifts:
        middle = "–" if each.median_windows is None else f"{each.median_windows:g}"
        by = ", ".join(f"{kind} {share.count}" for kind, share in each.by.items())
        worst = "–" if each.worst_windows is None else str(each.worst_windows)
        yield f"{each.name:<18} {each.found!s:<24} {each.at_once!s:<24} {middle:>6} {worst:>6}  {by}"


def _progress(what: str, done: int, total: int) -> None:
    """One line for each thing that is tried; on a terminal it counts."""
    if sys.stderr.isatty():
        print(f"\r{what}: {done + 1} of {total}   ", end="\n" if done + 1 == total else "", file=sys.stderr, flush=True)
    elif done == 0:
        print(f"{what}: {total}", file=sys.stderr, flush=True)
