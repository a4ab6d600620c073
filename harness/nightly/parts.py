"""The parts of a night as data: what to run, for how long at most, and why one cannot be had here."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness._equivalence_worlds import WORLDS, Suite, default_suite, why_missing
from harness.errors import UsageError
from harness.nightly import audit

MINUTE_S = 60.0
SLACK_S = 5 * MINUTE_S
SEARCH_S = 180.0
SBOM = "sbom.cdx.json"
LEAST_SEARCH_S = 40.0  # of a capacity search: two probes take 31 s


def _nothing(_: Path) -> str:
    return ""


@dataclass(frozen=True)
class Part:
    """One part of a night.

    `argv` makes the command from the night's folder; what it writes belongs into `place`. `missing` says why it cannot
    be had, empty if it can: it is asked when its turn has come, so that it may depend on the parts before. `junit` is
    where a test run leaves its verdicts.
    """

    name: str
    title: str
    argv: Callable[[Path], Sequence[str]]
    limit_s: float
    missing: Callable[[Path], str] = _nothing
    junit: str = ""

    def place(self, night: Path) -> Path:
        """The folder of its run folders."""
        return night / self.name


@dataclass(frozen=True)
class Wanted:
    """What a night should hold; `parts` and `worlds`: all if empty. Seconds, and requests a second for the soak."""

    parts: tuple[str, ...] = ()
    worlds: tuple[str, ...] = ()
    suite: tuple[str, ...] = ()
    chosen: str = ""
    context: str | None = None
    cases: int = 100_000
    soak_s: float = 1800.0
    soak_rps: float = 50.0
    search_s: float = SEARCH_S

    def __post_init__(self) -> None:
        checked: tuple[tuple[str, float, float, float], ...] = (
            ("--chaos", self.cases, 1, 100_000),
            ("--soak", self.soak_s, 5, 86_400),
            ("--capacity", self.search_s, LEAST_SEARCH_S, 7200),
        )
        for flag, value, least, most in checked:
            if not least <= value <= most:
                raise UsageError(f"nightly: {flag}: expected a number from {least:g} to {most:g}, got {value:g}")
        _known("--world", self.worlds, WORLDS)
        _known("--part", self.parts, [part.name for part in _all(self)])


def parts(wanted: Wanted) -> list[Part]:
    """The chosen parts in their order: what others need first, what lasts longest last."""
    chosen = wanted.parts or tuple(part.name for part in _all(wanted))
    return [part for part in _all(wanted) if part.name in chosen]


def _known(flag: str, given: Sequence[str], names: Sequence[str]) -> None:
    for name in given:
        if name not in names:
            raise UsageError(f"nightly: {flag}: expected {', '.join(names[:-1])} or {names[-1]}, got {name!r}")


def _all(wanted: Wanted) -> list[Part]:
    worlds = wanted.worlds or WORLDS
    suite = Suite(wanted.suite or tuple(default_suite()), wanted.chosen, wanted.context)
    soak = f"soak:rps={wanted.soak_rps:g},ramp_s={min(30.0, wanted.soak_s / 10):g},hold_s={wanted.soak_s:g}"
    search = ("load", "--find-capacity", "--arrivals", "poisson", "--budget", f"{wanted.search_s:g}")
    return [
        Part("images", "Images of the cluster worlds", _command("images", "build"), 60 * MINUTE_S, _no_docker),
        Part("sbom", "What is installed (CycloneDX)", _sbom, 5 * MINUTE_S, _no_sbom),
        Part("audit", "Known vulnerabilities of what is installed", _audit, 20 * MINUTE_S, _no_database),
        Part("release", "The main job", _rehearse("release", "run"), 10 * MINUTE_S),
        *(_scenarios(world, suite) for world in worlds),
        Part("equivalence", "The worlds side by side", _equivalence(worlds), 5 * MINUTE_S, _fewer_than_two(worlds)),
        Part(
            "chaos", "The chaos matrix", _rehearse("chaos", "chaos", "--sample", str(wanted.cases)), 150 * MINUTE_S
        ),
        Part("capacity", "Capacity search", _rehearse("capacity", *search), wanted.search_s + SLACK_S),
        Part(
            "soak", "Soak", _rehearse("soak", "load", "--shape", soak, "--arrivals", "poisson"), wanted.soak_s + SLACK_S
        ),
    ]  # fmt: skip


def _command(*arguments: str) -> Callable[[Path], Sequence[str]]:
    return lambda _: (sys.executable, "-m", "harness.cli", *arguments)


def _rehearse(name: str, *arguments: str) -> Callable[[Path], Sequence[str]]:
    return lambda night: (sys.executable, "-m", "harness.cli", *arguments, "--reports", str(night / name))


def _scenarios(world: str, suite: Suite) -> Part:
    """The contract suite and the scenarios in one world."""
    name = f"scenarios-{world}"

    def missing(_: Path) -> str:
        if not suite.paths:
            return "this is not a clone of Rehearsal: name your own tests with --suite PATH"
        return why_missing(world, suite)

    return Part(
        name=name,
        title=f"Contract suite and scenarios, {world}",
        argv=lambda night: suite.argv(world, night / name),
        limit_s=75 * MINUTE_S,
        missing=missing,
        junit=f"{world}.xml",
    )


def _verdicts(night: Path, worlds: Sequence[str]) -> list[str]:
    """Of the worlds whose tests came to an end: WORLD=FILE, as `rehearse equivalence` takes it."""
    files = [(world, night / f"scenarios-{world}" / f"{world}.xml") for world in worlds]
    return [f"{world}={file}" for world, file in files if file.is_file()]


def _fewer_than_two(worlds: Sequence[str]) -> Callable[[Path], str]:
    def missing(night: Path) -> str:
        found = [each.partition("=")[0] for each in _verdicts(night, worlds)]
        return "" if len(found) > 1 else f"two worlds with verdicts are needed, here: {', '.join(found) or 'none'}"

    return missing


def _equivalence(worlds: Sequence[str]) -> Callable[[Path], Sequence[str]]:
    def argv(night: Path) -> Sequence[str]:
        junit = [word for each in _verdicts(night, worlds) for word in ("--junit", each)]
        return _rehearse("equivalence", "equivalence", *junit)(night)

    return argv


def _sbom(night: Path) -> Sequence[str]:
    place = str(night / "sbom" / SBOM)
    flags = ("--short-PURLs", "--output-reproducible", "--output-format", "JSON", "--output-file", place)
    return sys.executable, "-m", "cyclonedx_py", "environment", *flags


def _no_sbom(_: Path) -> str:
    here = importlib.util.find_spec("cyclonedx_py") is not None
    return "" if here else "cyclonedx-bom is not installed. Hint: pip install cyclonedx-bom"


def _audit(night: Path) -> Sequence[str]:
    return sys.executable, "-P", "-m", "harness.nightly.audit", str(night / "audit" / "audit.json")


def _no_database(_: Path) -> str:
    return audit.why_missing()


def _no_docker(_: Path) -> str:
    """Images are made with Docker."""
    from harness.errors import CapabilityMissing
    from harness.images import engine

    try:
        engine.probe()
    except CapabilityMissing as missing:
        return str(missing)
    return ""
