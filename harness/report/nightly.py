"""The index page of a night, and the same as JSON beside it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.report import _format as fmt
from harness.report.plots import interval
from harness.report.render import environment
from harness.report.store import write_text
from harness.runtime.redact import redact, redact_text

if TYPE_CHECKING:
    from harness.nightly.history import Case
    from harness.nightly.night import Result

BADGES = {"missing": "skipped", "not run": "interrupted"}
UNRELIABLE = 30  # cases that the page lists; the JSON has all


@dataclass(frozen=True)
class Night:
    """All that the page tells: the parts in their order, the history's cases, how many nights those are of."""

    name: str
    started_at: float
    command: str
    results: Sequence[Result]
    cases: Sequence[Case]
    nights: int
    environment: dict[str, Any]

    def of(self, came: str) -> list[Result]:
        return [result for result in self.results if result.came.value == came]

    @property
    def status(self) -> str:
        """Passed if all that could be run did, and something ran."""
        if self.of("failed"):
            return "failed"
        if self.of("running") or self.of("not run"):
            return "running"
        return "passed" if self.of("passed") else "skipped"

    @property
    def unreliable(self) -> list[Case]:
        """Cases that failed in some night, the least reliable first."""
        return [case for case in self.cases if case.failed]

    def opening(self) -> str:
        """The sentence that the page and the terminal begin with."""
        counts = [(len(self.of(came)), came) for came in ("passed", "failed", "missing", "running", "not run")]
        said = ", ".join(f"{count} {came}" for count, came in counts if count)
        tests = sum(sum(result.counts.values()) for result in self.results)
        failed = sum(result.counts.get("failed", 0) for result in self.results)
        more = f" {fmt.count(tests)} {'test' if tests == 1 else 'tests'}, {fmt.count(failed)} failed." if tests else ""
        return f"{len(self.results)} parts: {said}.{more}"


def write_night(night: Night, folder: Path) -> Path:
    """Write folder/nightly.json and folder/index.html; returns the page's path."""
    parts = [{**asdict(result), "counts": result.counts} for result in night.results]
    data = {
        "night": night.name,
        "started_at": night.started_at,
        "status": night.status,
        "command": night.command,
        "environment": night.environment,
        "parts": parts,
        "history": {"nights": night.nights, "cases": [asdict(case) for case in night.cases]},
    }
    write_text(folder / "nightly.json", json.dumps(redact(data), indent=1, ensure_ascii=False) + "\n")
    return write_text(folder / "index.html", redact_text(page(night)))


def page(night: Night) -> str:
    """The page as text; it loads nothing from anywhere, and leads to the parts' pages."""
    text: str = environment().get_template("nightly.html").render(
        night=night, badges=BADGES, most=UNRELIABLE, drawn_of=_rate, command_of=_command, counts_of=counts
    )  # fmt: skip
    return text


def counts(result: Result) -> str:
    """How its tests came out, in words."""
    return ", ".join(f"{fmt.count(count)} {came}" for came, count in sorted(result.counts.items()))


def _rate(case: Case) -> str:
    return interval(case.low, case.high, case.rate, 1.0, 1.0)


def _command(result: Result) -> str:
    """The command as a person types it: the environment's interpreter is `python`, its command line `rehearse`."""
    words = [word.removeprefix(f"{Path.cwd()}/") for word in shlex.split(result.command)]
    if words[1:3] == ["-m", "harness.cli"]:
        return shlex.join(["rehearse", *words[3:]])
    return shlex.join(["python", *words[1:]] if words[1:2] == ["-m"] else words)
