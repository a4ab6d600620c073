"""`rehearse nightly`: everything, one part after another, and one index page over all of it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from harness._cli_options import Chosen, Json, Reports, Suites, Worlds
from harness._cli_world import Context
from harness.nightly.parts import SEARCH_S, Wanted, parts
from harness.runtime.interrupts import sigterm_interrupts
from harness.runtime.paths import new_run_folder, runs_home
from harness.runtime.space import require

if TYPE_CHECKING:
    from harness.nightly.night import Result
    from harness.nightly.parts import Part
    from harness.report.nightly import Night

TREND_LAST = 60


def nightly(
    part: Annotated[
        list[str] | None, typer.Option("--part", metavar="NAME", help="Only this part; may be given several times.")
    ] = None,
    world: Worlds = None,
    suite: Suites = None,
    chosen: Chosen = "",
    context: Context = None,
    cases: Annotated[
        int, typer.Option("--chaos", metavar="N", help="How many cases of the chaos matrix.", show_default="all")
    ] = 100_000,
    soak: Annotated[float, typer.Option("--soak", metavar="SECONDS", help="How long the soak holds its rate.")] = 1800,
    capacity: Annotated[
        float, typer.Option("--capacity", metavar="SECONDS", help="What the capacity search may take.")
    ] = SEARCH_S,
    reports: Reports = None,
    as_json: Json = False,
) -> None:
    """Run everything, and write one index page over it.

    The parts: images, what is installed and what is known against it, the main job, the scenarios in each world,
    equivalence, the chaos matrix, the capacity search and the soak. What cannot be had here is a line with the reason.
    The exit code is 1 if a part failed.
    """
    wanted = Wanted(
        parts=tuple(part or ()),
        worlds=tuple(world or ()),
        suite=tuple(suite or ()),
        chosen=chosen,
        context=context,
        cases=cases,
        soak_s=soak,
        search_s=capacity,
    )
    chosen_parts, home = parts(wanted), runs_home(reports)
    require(home)
    folder = new_run_folder(home, "nightly")
    with sigterm_interrupts():
        try:
            night = _run(chosen_parts, folder, sys.stderr if as_json else sys.stdout)
        except KeyboardInterrupt:
            print(f"rehearse: interrupted; what was done is in {folder / 'index.html'}", file=sys.stderr)
            raise typer.Exit(130) from None
    page = folder / "index.html"
    words = f"\n{night.status.upper()}: {night.opening()}\nreport   {page}"
    print(json.dumps({"status": night.status, "report": str(page)}) if as_json else words)
    raise typer.Exit(0 if night.status == "passed" else 1)


def _run(chosen: Sequence[Part], folder: Path, screen: TextIO) -> Night:
    from harness.nightly import history
    from harness.nightly.night import run_night
    from harness.report.nightly import write_night
    from harness.runtime.events import EventLog
    from harness.runtime.supervisor import Supervisor

    began, past = time.time(), history.read(folder.parent / history.FILE)
    events = EventLog(folder / "events.jsonl")
    last: list[Night] = []
    said: dict[str, str] = {}

    def told(results: list[Result]) -> None:
        entry = history.line(folder.name, began, results)
        last[:] = [_night(folder, began, results, [*past, entry])]
        write_night(last[0], folder)
        _say(results, said, screen)

    try:
        with Supervisor(folder, events) as supervisor:
            results = run_night(chosen, folder, supervisor, told)
    finally:
        events.close()
        history.append(folder.parent / history.FILE, history.line(folder.name, began, last[0].results if last else []))
    told([*results, _trend(folder)])
    return last[0]


def _night(folder: Path, began: float, results: Sequence[Result], past: Sequence[dict[str, Any]]) -> Night:
    from harness.nightly import history
    from harness.report.nightly import Night
    from harness.run import command, environment

    found = history.cases(past)
    nights = min(len(past), history.LAST)
    return Night(folder.name, began, command(), results, found, nights, environment())


def _trend(folder: Path) -> Result:
    """The trend over all nights, as a last part that runs in this process."""
    from harness.compare.trend import trend
    from harness.nightly.night import Came, Page, Result
    from harness.report.store import read_runs
    from harness.report.trend import opening, write_trend

    found = trend(list(read_runs(folder.parent)), last=TREND_LAST)
    result = Result("trend", "Trend of the last runs", command="rehearse trend")
    if not found.tracks:
        result.came, result.words = Came.MISSING, "no kind of run with a load was run twice yet"
        return result
    page = write_trend(found, folder / "trend")
    result.came, result.words = Came.PASSED, opening(found)
    result.pages = [Page(str(page.relative_to(folder)), "trend", "")]
    return result


def _say(results: Sequence[Result], said: dict[str, str], screen: TextIO) -> None:
    """A line for each part whose state changed, but for those whose turn has not come."""
    for result in results:
        state = result.came.value
        if said.get(result.name, "not run") != state:
            said[result.name] = state
            took = f" in {result.duration_s:.0f} s" if result.duration_s else ""
            words = f": {result.words}" if result.words else ""
            print(f"{state:<8} {result.title}{took}{words}", file=screen, flush=True)
