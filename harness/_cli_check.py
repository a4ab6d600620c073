"""`rehearse check`: every check of one version, trained and served for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness import _cli_world
from harness._cli_options import Checks, Config, Json, Reports
from harness._cli_progress import Progress
from harness._cli_run import check_input, exit_code, verdict_lines
from harness._world_options import world_options
from harness.backends.session import require as require_world
from harness.config import load_settings
from harness.errors import ConfigError, RehearsalError, StepFailed, UsageError
from harness.runtime.interrupts import sigterm_interrupts
from harness.runtime.paths import new_run_folder, runs_home
from harness.runtime.space import require

if TYPE_CHECKING:
    from harness.config import Settings
    from harness.report.record import CheckResult, RunRecord
    from harness.runtime.events import Listener

_MARKS = {True: "passed", False: "FAILED", None: "not judged"}


def check(
    checks: Checks = None,
    config: Config = None,
    data: Annotated[str | None, typer.Option("--data", metavar="FILE", help="Your data: CSV or Parquet.")] = None,
    target: Annotated[str | None, typer.Option("--target", metavar="COLUMN", help="The column to predict.")] = None,
    train: Annotated[
        str | None, typer.Option("--train", metavar="MODULE:FUNCTION", help="Your training function.")
    ] = None,
    backend: _cli_world.Backend = None,
    reports: Reports = None,
    as_json: Json = False,
) -> None:
    """Check a model version: train it, serve it, and make every check of a file.

    The version is the candidate of `rehearse run` with the same settings, without a search. The exit code is 1 if a
    check failed; one that could not be judged says why.
    """
    flags = {"--checks": checks, "--data": data, "--target": target, "--train": train, "--backend": backend}
    settings = load_settings(config, {**flags, "--reports": str(reports) if reports else None})
    if not settings.model_checks:
        raise ConfigError("check: expected --checks FILE, or [checks] file", hint="manifests/checks has one.")
    world, home = world_options(settings), runs_home(settings.run.reports)
    require(home)
    require_world(world)
    check_input(settings)
    screen = sys.stderr if as_json else sys.stdout
    folder = new_run_folder(home, "check")
    with sigterm_interrupts(), Progress(screen) as progress:
        record = checked(settings, folder, listener=progress)
    results = [each for found in record.checks for each in found.results]
    print(*(line for each in results for line in _lines(each)), verdict_lines(record, folder), sep="\n", file=screen)
    if as_json:
        from harness.report.store import record_text

        print(record_text(record))
    raise typer.Exit(exit_code(record))


def checked(settings: Settings, folder: Path, *, listener: Listener | None = None) -> RunRecord:
    """Train, serve and check; a mistake in the input is raised, every other error is the record's outcome."""
    from harness.backends.session import open_backend
    from harness.offering import serve
    from harness.plan import Plan
    from harness.platform import Platform
    from harness.run import Run

    plan = Plan.of(settings)
    run = Run(folder, title=f"Checks of {plan.dataset.name}", backend=settings.run.backend, listener=listener)
    try:
        with (
            run,
            open_backend(world_options(settings), folder, run.events) as backend,
            Platform(backend, run, seed=plan.seed, runner=plan.runner) as platform,
        ):
            service, model = serve(platform, plan)
            with run.step("checks", f"Check version {model.version}") as step:
                found = platform.check(model, plan.checks, service=service)
                platform.card(model, plan.card)
                step.detail = run.record.decided_by = f"v{model.version}: {found.summary}"
                if found.failed:
                    raise StepFailed(f"checks of v{model.version}: {found.refusal}.")
    except UsageError:
        raise
    except (RehearsalError, KeyboardInterrupt):
        pass  # the record tells it
    return run.record


def _lines(result: CheckResult) -> Iterator[str]:
    """A check in a line, and what was worst of one that failed."""
    detail = f"; {result.detail}" if result.detail else ""
    yield f"{_MARKS[result.passed]:<10} {result.name}: {result.observed}, required {result.required}{detail}"
    yield from (f"{'':<11}{example}" for example in result.examples if result.passed is False)
