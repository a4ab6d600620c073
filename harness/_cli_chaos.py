"""`rehearse chaos`: cases of the matrix on one session of a world, a table, and a run folder with the record."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from harness._cli_progress import Progress
from harness._cli_run import exit_code, verdict_lines
from harness.chaos.faults import CONTAINER_FAULTS, FAULTS, phase_named
from harness.chaos.matrix import Case, matrix, sample
from harness.errors import StepFailed, UsageError
from harness.runtime.interrupts import sigterm_interrupts
from harness.runtime.paths import new_run_folder, runs_home
from harness.runtime.space import require

if TYPE_CHECKING:
    from harness.backends.kubernetes.world import WorldOptions
    from harness.backends.session import Session
    from harness.report.record import ChaosCase, RunRecord
    from harness.run import Run

SAMPLE = 12
COLUMNS = ("policy", "phase", "fault", "outcome", "took", "rollback", "budget", "invariants")


@dataclass(frozen=True)
class Choice:
    """What was asked for: empty choices are all; a `size` of None is all that were chosen, SAMPLE if nothing was."""

    policies: Sequence[str] = ()
    faults: Sequence[str] = ()
    phases: Sequence[str] = ()
    size: int | None = None
    seed: int = 4
    world: str = "embedded"

    def cases(self) -> list[tuple[Case, str]]:
        """Each combination with why it cannot be; UsageError for an unknown name, or if none is left."""
        own = [*FAULTS, *CONTAINER_FAULTS] if self.world == "containers" else []
        found = matrix(self.policies, [phase_named(name) for name in self.phases], self.faults or own)
        if not found:
            raise UsageError("chaos: no case is left", hint="a policy has not every phase; see rehearse chaos --list.")
        return found

    def drawn(self) -> list[Case]:
        """The cases to run."""
        found = self.cases()
        left = [case for case, reason in found if not reason]
        if not left:
            raise UsageError(f"chaos: {found[0][0].name} cannot be: {found[0][1]}")
        if self.size is not None and self.size < 1:
            raise UsageError(f"chaos: --sample: expected at least 1, got {self.size}")
        narrowed = self.policies or self.faults or self.phases
        size = self.size or (len(left) if narrowed else SAMPLE)
        return sample(left, size, self.seed)


def list_cases(choice: Choice, *, as_json: bool) -> str:
    """Every case with the reason why it cannot be, if so."""
    found = choice.cases()
    if as_json:
        return json.dumps([{"case": case.name, "impossible": reason} for case, reason in found])
    lines = [f"{case.name}{f'  cannot be: {reason}' if reason else ''}" for case, reason in found]
    can = sum(not reason for _, reason in found)
    return "\n".join([*lines, f"{can} cases, {len(found) - can} that cannot be"])


def rehearse_chaos(choice: Choice, reports: Path | None, world: WorldOptions, *, as_json: bool) -> int:
    """Run the chosen cases one after another; returns 0 if all invariants held, 1 if not, 130 if interrupted."""
    cases = choice.drawn()
    home = runs_home(reports)
    require(home)
    folder = new_run_folder(home, "chaos")
    screen = sys.stderr if as_json else sys.stdout
    with sigterm_interrupts():
        try:
            record = _run_all(cases, folder, world, screen)
        except KeyboardInterrupt:
            print(f"rehearse: interrupted; what was done is in {folder}", file=sys.stderr)
            return 130
    print(table(record.chaos), verdict_lines(record, folder), sep="\n", file=screen)
    if as_json:
        from harness.report.store import record_text

        print(record_text(record))
    return exit_code(record)


def _run_all(cases: Sequence[Case], folder: Path, world: WorldOptions, screen: TextIO) -> RunRecord:
    from harness.backends.session import open_session
    from harness.run import Run

    with Progress(screen) as progress:
        run = Run(folder, title=f"Chaos: {len(cases)} cases", backend=world.backend)
        run.events.listen(lambda event: progress(event) if event.kind.startswith("step.") else None)
        with run, open_session(world, folder / "session") as session:
            for case in cases:
                with contextlib.suppress(StepFailed):  # told by the step; the other cases go on
                    _run_one(run, session, case)
            broken = [case for case in run.record.chaos if any(case.invariants.values())]
            run.record.decided_by = f"{len(broken)} of {len(run.record.chaos)} cases broke an invariant"
            shutil.rmtree(session.folder / "models", ignore_errors=True)
    return run.record


def _run_one(run: Run, session: Session, case: Case) -> None:
    from harness.chaos.case import run_case
    from harness.chaos.models import saved_models
    from harness.platform import Platform
    from harness.run import Run

    folder = run.folder / "cases" / case.name.replace("/", "-")
    with run.step(case.name, case.name, optional=True) as step:
        own = Run(folder, title=case.name, backend=run.record.backend)
        with own, Platform(session.backend(folder, own.events), own) as platform:
            found = run_case(platform, saved_models(platform, session.folder / "models"), case)
            own.record.chaos.append(found)
        run.record.chaos.append(found)
        step.detail = words(found)
        if broken := [f"{name}: {told}" for name, told in found.invariants.items() if told]:
            raise StepFailed(f"{step.detail}; {'; '.join(broken)}", hint=f"its own report: {folder / 'index.html'}")
        shutil.rmtree(folder)


def words(case: ChaosCase) -> str:
    """How a case ended, in a line."""
    held = sum(not told for told in case.invariants.values())
    cost = "" if case.rollback_s is None else f", no traffic after {case.rollback_s:.2f} s"
    paid = "" if case.budget_share is None else f" for {case.budget_share:.0%} of the error budget"
    return f"{case.outcome}{cost}{paid}; {held} of {len(case.invariants)} invariants held"


def table(cases: Sequence[ChaosCase]) -> str:
    """One line a case, and what broke below it."""
    rows = [COLUMNS, *map(_row, cases)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = list(_lines(rows, widths, cases))
    return "\n".join(lines)


def _lines(rows: Sequence[Sequence[str]], widths: Sequence[int], cases: Sequence[ChaosCase]) -> Iterator[str]:
    for number, row in enumerate(rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        if number:
            yield from (f"    {name}: {told}" for name, told in cases[number - 1].invariants.items() if told)


def _row(case: ChaosCase) -> tuple[str, ...]:
    broken = sum(map(bool, case.invariants.values()))
    return (
        case.policy,
        case.phase,
        case.fault,
        case.outcome,
        f"{case.duration_s:.1f} s",
        "-" if case.rollback_s is None else f"{case.rollback_s:.2f} s",
        "-" if case.budget_share is None else f"{case.budget_share:.0%}",
        f"{broken} broken" if broken else "held",
    )
