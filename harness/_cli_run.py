"""`rehearse run`: from flags to a verdict line, a path and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from harness._cli_progress import Progress
from harness._world_options import world_options
from harness.backends.session import require as require_world
from harness.config import load_settings
from harness.runtime.interrupts import sigterm_interrupts
from harness.runtime.paths import new_run_folder, runs_home
from harness.runtime.redact import redact_text
from harness.runtime.space import require

if TYPE_CHECKING:
    from harness.config import Settings
    from harness.report.record import RunRecord


def rehearse_release(config: Path | None, flags: Mapping[str, Any], *, as_json: bool) -> int:
    """Runs the main job; returns 0 if all passed, 1 if not, 130 if interrupted."""
    with sigterm_interrupts():
        return _rehearse(load_settings(config, flags), sys.stderr if as_json else sys.stdout, as_json=as_json)


def _rehearse(settings: Settings, screen: TextIO, *, as_json: bool) -> int:
    world = world_options(settings)  # a mistake in the flags is told before a run folder is made
    home = runs_home(settings.run.reports)
    require(home)
    require_world(world)
    check_input(settings)
    folder = new_run_folder(home, settings.run.name)
    from harness.rehearsal import rehearse

    try:
        with Progress(screen) as progress:
            record = rehearse(settings, run_folder=folder, listener=progress)
    except KeyboardInterrupt:
        print(f"rehearse: interrupted; what was done is in {_page(folder)}", file=sys.stderr)
        return 130
    print(verdict_lines(record, folder), file=screen)
    if as_json:
        from harness.report.store import record_text

        print(record_text(record))
    return exit_code(record)


def check_input(settings: Settings) -> None:
    """UsageError for what of the user's own data, training or checks is wrong; what comes with Rehearsal is not."""
    if not settings.uses_default_data or settings.train.model_fields_set or settings.checks.file:
        from harness import preflight
        from harness.plan import Plan

        preflight.check(Plan.of(settings))


def exit_code(record: RunRecord) -> int:
    return {"passed": 0, "interrupted": 130}.get(record.status.value, 1)


def verdict_lines(record: RunRecord, folder: Path) -> str:
    """The end of a run: the verdict, what decided it, its likely cause, what to do next, and where the report is."""
    from harness.report.cause import likely

    reason = (record.decided_by or record.title).splitlines()[0]
    lines = ["", f"{record.status.value.upper()} in {record.duration_s:.1f} s: {reason}"]
    lines += [f"skipped  {skip.step}: {skip.reason}" for skip in record.skips]
    if cause := likely(record):
        lines.append(f"likely   {cause}")
    if record.hint:
        lines.append(f"hint     {record.hint}")
    lines.append(f"report   {_page(folder)}")
    return redact_text("\n".join(lines))


def _page(folder: Path) -> Path:
    page = folder / "index.html"
    return page if page.is_file() else folder
