"""Whether the same tests come out alike in every world: the pure comparison of what their runs said.

A difference is either a capability that a world lacks and names, or a defect. What the same in every world is not a
difference; a test that fails everywhere is a defect all the same.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any
from xml.etree import ElementTree

from harness.errors import UsageError


class Verdict(StrEnum):
    """How one test came out in one world."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    NOT_RUN = "not run"


class Kind(StrEnum):
    """What a row of verdicts is."""

    ALIKE = "alike"
    EXPLAINED = "missing capability"
    DEFECT = "defect"


@dataclass(frozen=True)
class Outcome:
    """A verdict with what was said of it: the reason of a skip, the first line of a failure."""

    verdict: Verdict
    words: str = ""
    duration_s: float = 0.0


@dataclass(frozen=True)
class WorldRun:
    """What one world said; `missing`: why it was not run at all, `outcomes` are empty then.

    `upstream`: what its tests found against programs that we did not write, as UpstreamFinding has it.
    """

    name: str
    outcomes: Mapping[str, Outcome]
    missing: str = ""
    upstream: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True)
class Row:
    """One test: world -> outcome, what that is, and in words why."""

    case: str
    outcomes: Mapping[str, Outcome]
    kind: Kind
    why: str


@dataclass(frozen=True)
class Comparison:
    """The rows of the worlds that ran, the worlds that did not with the reason, and what was found upstream."""

    worlds: tuple[str, ...]
    missing: Mapping[str, str]
    rows: tuple[Row, ...]
    upstream: tuple[Mapping[str, str], ...] = ()

    def of(self, kind: Kind) -> list[Row]:
        """The rows of one kind."""
        return [row for row in self.rows if row.kind is kind]

    @property
    def equivalent(self) -> bool:
        """Whether something ran and there is no defect."""
        return bool(self.rows) and not self.of(Kind.DEFECT)

    def as_json(self) -> dict[str, Any]:
        """All of it, for scripts."""
        counts = {kind.value: len(self.of(kind)) for kind in Kind}
        return {"equivalent": self.equivalent, "counts": counts, **asdict(self)}


def compare(runs: Sequence[WorldRun], capabilities: Collection[str]) -> Comparison:
    """Every test of any world, side by side; `capabilities` are the names by which a skip may explain itself."""
    ran = [run for run in runs if not run.missing]
    cases = dict.fromkeys(case for run in ran for case in run.outcomes)
    rows = [_row(case, ran, capabilities) for case in cases]
    return Comparison(
        worlds=tuple(run.name for run in ran),
        missing={run.name: run.missing for run in runs if run.missing},
        rows=tuple(rows),
        upstream=tuple(finding for run in ran for finding in run.upstream),
    )


def _row(case: str, ran: Sequence[WorldRun], capabilities: Collection[str]) -> Row:
    absent = Outcome(Verdict.NOT_RUN, "the test was not among those that ran")
    outcomes = {run.name: run.outcomes.get(case, absent) for run in ran}
    kind, why = judge(outcomes, capabilities)
    return Row(case, outcomes, kind, why)


def judge(outcomes: Mapping[str, Outcome], capabilities: Collection[str]) -> tuple[Kind, str]:
    """What a row of verdicts is, and why; a failure weighs most, then a skip that names no capability."""
    said: dict[Verdict, list[str]] = {verdict: [] for verdict in Verdict}
    for world, outcome in outcomes.items():
        said[outcome.verdict].append(world)
    if failed := said[Verdict.FAILED]:
        where = f"fails in {_listed(failed)}" if len(failed) < len(outcomes) else "fails in every world"
        return Kind.DEFECT, f"{where}: {outcomes[failed[0]].words}".rstrip(": ")
    if absent := said[Verdict.NOT_RUN]:
        return Kind.DEFECT, f"was not run in {_listed(absent)}"
    skipped = said[Verdict.SKIPPED]
    if len(skipped) in (0, len(outcomes)):
        return Kind.ALIKE, outcomes[skipped[0]].words if skipped else ""
    silent = [world for world in skipped if not missing_capability(outcomes[world].words, capabilities)]
    if silent:
        return Kind.DEFECT, f"skipped in {_listed(silent)} for no capability: {outcomes[silent[0]].words}"
    lacks = ", ".join(f"{world} lacks {missing_capability(outcomes[world].words, capabilities)}" for world in skipped)
    return Kind.EXPLAINED, lacks


def missing_capability(words: str, capabilities: Collection[str]) -> str:
    """The capability that a skip's reason names, as the plug-in words it: "<capability>: <how to get it>"."""
    named = words.removeprefix("Skipped: ").partition(":")[0].strip()
    return named if named in capabilities else ""


def parse_junit(text: str, where: str) -> dict[str, Outcome]:
    """Test -> outcome of a junit.xml that pytest wrote; a test with several entries has the worst of them."""
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise UsageError(f"{where}: not a junit.xml: {error}") from None
    found: dict[str, Outcome] = {}
    for case in root.iter("testcase"):
        name = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name', '')}".removeprefix(".py::")
        outcome = _outcome(case)
        if name not in found or _RANK[outcome.verdict] > _RANK[found[name].verdict]:
            found[name] = outcome
    return found


def parse_upstream(text: str) -> tuple[Mapping[str, str], ...]:
    """The findings against upstream programs that the tests of a junit.xml have among their properties."""
    told = ElementTree.fromstring(text).iterfind(".//testcase/properties/property[@name='upstream']")
    return tuple(json.loads(each.get("value", "{}")) for each in told)


_RANK = {Verdict.NOT_RUN: 0, Verdict.PASSED: 1, Verdict.SKIPPED: 2, Verdict.FAILED: 3}


def _outcome(case: ElementTree.Element) -> Outcome:
    took = float(case.get("time") or 0)
    for tag, verdict in (("failure", Verdict.FAILED), ("error", Verdict.FAILED), ("skipped", Verdict.SKIPPED)):
        if (told := case.find(tag)) is not None:
            words = (told.get("message") or told.text or "").strip()
            return Outcome(verdict, words.splitlines()[0] if words else "", took)
    return Outcome(Verdict.PASSED, "", took)


def _listed(worlds: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(worlds[:-1]), worlds[-1]]))
