"""The worlds that `rehearse equivalence` compares: which this machine gives, and a run of the suite in each of them."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from harness.doctor import examine, usable
from harness.equivalence import WorldRun, parse_junit, parse_upstream
from harness.errors import PlatformError

if TYPE_CHECKING:
    from harness.runtime.process import Child
    from harness.runtime.supervisor import Supervisor

WORLDS = ("embedded", "containers", "kind", "kubernetes")
ENDING_S = 120.0
_SAID_ALL = {0, 1, 5}  # pytest's exit codes after which junit.xml has every test: passed, failed, none collected


@dataclass(frozen=True)
class Suite:
    """What to run: files or folders of tests, a choice among them as pytest's -k takes it, and options for each world.

    The kubernetes world takes part only with a `context`.
    """

    paths: tuple[str, ...]
    chosen: str = ""
    context: str | None = None
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def argv(self, world: str, folder: Path) -> list[str]:
        """The command that runs it in a world."""
        context = ["--context", str(self.context)] if world == "kubernetes" else []
        return [
            *(sys.executable, "-m", "pytest", "--backend", world, "--junitxml", str(junit_file(world, folder))),
            *("--reports", str(folder / "runs"), "-p", "no:cacheprovider", "-o", "junit_family=xunit2"),
            *(("-k", self.chosen) if self.chosen else ()),
            *context,
            *self.options.get(world, ()),
            *self.paths,
        ]


def junit_file(world: str, folder: Path) -> Path:
    """Where a world's verdicts are."""
    return folder / f"{world}.xml"


def why_missing(world: str, suite: Suite) -> str:
    """Why a world cannot be had here, and how to get it; empty if it can."""
    from harness.pytest_plugin import BACKENDS

    if world not in BACKENDS:
        return "this version has no such backend"
    if world == "kubernetes" and not suite.context:
        return "no cluster was named: --context NAME"
    findings = [finding for finding in examine() if finding.backend == world]
    if usable(findings, world):
        return ""
    lacking = [found for found in findings if found.found is None and not found.optional]
    return "; ".join(f"{found.what}: {found.why} Hint: {found.how}" for found in lacking)


def run_world(world: str, suite: Suite, folder: Path, supervisor: Supervisor) -> WorldRun:
    """The suite in one world; PlatformError with the log's end if pytest did not come to say a verdict on each test."""
    child = supervisor.spawn(f"pytest-{world}", suite.argv(world, folder), task=True)
    try:
        code = child.wait(None)
    except KeyboardInterrupt:
        _interrupt(child)
        raise
    file = junit_file(world, folder)
    if code not in _SAID_ALL or not file.is_file():
        raise PlatformError(f"equivalence: pytest in {world} ended with exit code {code}.\n{child.tail()}")
    text = file.read_text(encoding="utf-8")
    return WorldRun(world, parse_junit(text, str(file)), upstream=parse_upstream(text))


def _interrupt(child: Child) -> None:
    """Pytest takes what it started down with it, a cluster among that."""
    child.kill(signal.SIGINT)
    child.wait(ENDING_S)


def default_suite() -> Sequence[str]:
    """The contract suite and the scenarios of this clone; nothing where there is no clone."""
    clone = Path(__file__).resolve().parent.parent
    return [str(folder) for folder in (clone / "tests/contract", clone / "scenarios") if folder.is_dir()]
