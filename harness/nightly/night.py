"""Runs the parts of a night one after another; whatever becomes of one, the others run, and the index is written."""

from __future__ import annotations

import shlex
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from harness.equivalence import Outcome, Verdict, parse_junit
from harness.errors import RehearsalError

if TYPE_CHECKING:
    from harness.nightly.parts import Part
    from harness.runtime.process import Child
    from harness.runtime.supervisor import Supervisor

ENDING_S = 120.0
TOLD = 5  # failed tests that a part's line names


class Came(StrEnum):
    """What became of a part."""

    PASSED = "passed"
    FAILED = "failed"
    MISSING = "missing"
    RUNNING = "running"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Page:
    """A page that a part left: its path from the night's folder, what it is of, and that run's status."""

    path: str
    title: str
    status: str


@dataclass
class Result:
    """What became of one part; `words` say why it failed or is missing, `cases` are its tests."""

    name: str
    title: str
    came: Came = Came.NOT_RUN
    words: str = ""
    command: str = ""
    duration_s: float = 0.0
    log: str = ""
    cases: dict[str, Outcome] = field(default_factory=dict)
    pages: list[Page] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """How many of its tests came out how."""
        return dict(Counter(outcome.verdict.value for outcome in self.cases.values()))


def run_night(
    parts: Sequence[Part], night: Path, supervisor: Supervisor, told: Callable[[list[Result]], None]
) -> list[Result]:
    """Run the parts; `told` gets all results after each change. KeyboardInterrupt goes on up, with all told before."""
    results = [Result(part.name, part.title) for part in parts]
    told(results)
    for part, result in zip(parts, results, strict=True):
        try:
            _run(part, result, night, supervisor, lambda: told(results))
        except KeyboardInterrupt:
            result.came, result.words = Came.NOT_RUN, "interrupted"
            told(results)
            raise
        except (RehearsalError, OSError) as error:  # of this part: the others are still wanted
            result.came, result.words = Came.FAILED, str(error)
        told(results)
    return results


def _run(part: Part, result: Result, night: Path, supervisor: Supervisor, told: Callable[[], None]) -> None:
    if reason := part.missing(night):
        result.came, result.words = Came.MISSING, reason
        return
    argv = part.argv(night)
    result.command = shlex.join(argv)
    part.place(night).mkdir(parents=True, exist_ok=True)
    child = supervisor.spawn(part.name, argv, task=True)
    result.came, result.log = Came.RUNNING, str(supervisor.log_path(part.name).relative_to(night))
    told()
    began = time.monotonic()
    try:
        code = child.wait(part.limit_s)
    except KeyboardInterrupt:
        _interrupt(child)
        raise
    if code is None:
        _interrupt(child)
    result.duration_s = time.monotonic() - began
    result.cases = _cases(part, night)
    result.pages = list(pages(part.place(night), night))
    result.came, result.words = _came(part, code, result, child.tail(40))


def _came(part: Part, code: int | None, result: Result, tail: str) -> tuple[Came, str]:
    """What a part's exit code means, in words that one can act on."""
    if code is None:
        return Came.FAILED, f"stopped: it was not done after {part.limit_s / 60:.0f} minutes"
    if code == 0:
        return Came.PASSED, ""
    failed = [case for case, outcome in result.cases.items() if outcome.verdict is Verdict.FAILED]
    if failed:
        more = f", and {len(failed) - TOLD} more" if len(failed) > TOLD else ""
        return Came.FAILED, f"{len(failed)} failed: {', '.join(failed[:TOLD])}{more}"
    said = [line.strip() for line in tail.splitlines() if line.strip()]
    decided = [line for line in said if line.startswith(("FAILED", "rehearse: ", "NOT EQUIVALENT"))]
    return Came.FAILED, (decided or said or [f"exit code {code}"])[-1]


def _cases(part: Part, night: Path) -> dict[str, Outcome]:
    file = part.place(night) / part.junit
    if not part.junit or not file.is_file():
        return {}
    return parse_junit(file.read_text(encoding="utf-8"), str(file))


def pages(folder: Path, night: Path) -> Iterable[Page]:
    """The pages of the runs below a folder, with the title and the status of each; and a bill of materials."""
    from harness.report.store import load_record

    for sbom in sorted(folder.glob("*.cdx.json")):
        yield Page(str(sbom.relative_to(night)), "software bill of materials", "")
    for page in sorted(folder.glob("**/index.html")):
        path = str(page.relative_to(night))
        if not (page.parent / "run.json").is_file():
            yield Page(path, "equivalence" if (page.parent / "equivalence.json").is_file() else page.parent.name, "")
            continue
        try:
            record = load_record(page.parent)
        except RehearsalError as error:
            yield Page(path, page.parent.name, f"unreadable: {error.message}")
            continue
        yield Page(path, record.title, record.status.value)
        if (page.parent / "load.html").is_file():
            yield Page(str(page.with_name("load.html").relative_to(night)), "load report", "")


def _interrupt(child: Child) -> None:
    """What it started goes down with it, a cluster among that."""
    child.kill(signal.SIGINT)
    if child.wait(ENDING_S) is None:
        child.stop()
