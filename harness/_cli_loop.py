"""`rehearse loop`: the closed loop, from a shift to a version that serves again."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from harness import _cli_world
from harness._cli_options import Json, Reports
from harness._cli_progress import Progress
from harness._cli_run import exit_code, verdict_lines
from harness._world_options import world_options
from harness.backends.session import require as require_world
from harness.config import load_settings
from harness.runtime.interrupts import sigterm_interrupts
from harness.runtime.paths import new_run_folder, runs_home
from harness.runtime.space import require

if TYPE_CHECKING:
    from harness.loop.rehearsal import LoopPlan

NAME = "closed-loop"


def loop(
    rps: Annotated[float, typer.Option("--rps", metavar="NUMBER", min=50.0, help="Requests a second.")] = 300.0,
    reverse: Annotated[
        list[str] | None,
        typer.Option("--reverse", metavar="COLUMN", help="Comes the other way round; may be given several times."),
    ] = None,
    fresh_rows: Annotated[
        int, typer.Option("--fresh-rows", metavar="N", min=100, help="Labelled rows that a retraining needs.")
    ] = 3_700,
    window_s: Annotated[
        float, typer.Option("--window", metavar="SECONDS", min=1.0, help="Windows that are judged for drift.")
    ] = 3.0,
    manual: Annotated[
        bool, typer.Option("--manual", help="A person lets the new version go on: rehearse approve.")
    ] = False,
    backend: _cli_world.Backend = None,
    reports: Reports = None,
    as_json: Json = False,
) -> None:
    """Rehearse the closed loop: shift, alert, retraining, gate, canary, promotion.

    On the RAND data: three columns come the other way round from a moment on, so that the champion's answers are worse
    than a coin's. Tells the time to notice, to retrain, to release and to recover. The exit code is 0 only if quality
    came back.
    """
    from harness.loop.rehearsal import rehearse_loop

    settings = load_settings(None, {"--backend": backend})
    world, home = world_options(settings), runs_home(reports)
    require(home)
    require_world(world)
    screen = sys.stderr if as_json else sys.stdout
    plan = _plan(rps, tuple(reverse or ()), fresh_rows, window_s, manual=manual)
    folder = new_run_folder(home, NAME)
    with sigterm_interrupts(), Progress(screen) as progress:
        record = rehearse_loop(plan, world, folder, listener=progress)
    print(verdict_lines(record, folder), file=screen)
    if as_json:
        from harness.report.store import record_text

        print(record_text(record))
    raise typer.Exit(exit_code(record))


def _plan(rps: float, reverse: tuple[str, ...], fresh_rows: int, window_s: float, *, manual: bool) -> LoopPlan:
    from harness.loop.rehearsal import RELEASE, LoopPlan

    plan = LoopPlan(rps=rps, window_s=window_s)
    release = replace(RELEASE, manual=RELEASE.steps[:1] if manual else ())
    return replace(
        plan,
        reverse=reverse or plan.reverse,
        policy=replace(plan.policy, fresh_rows=fresh_rows),
        answering=replace(plan.answering, release=release),
    )
