"""`rehearse equivalence`: the same tests in every world that is here, verdicts side by side, a page and JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from harness._cli_options import Chosen, Json, Reports, Suites, Worlds
from harness._cli_world import AllowRemote, Context, ImagePrefix, Install, Keep, Kubeconfig, Namespaces, Reuse, flags
from harness._equivalence_worlds import WORLDS, Suite, default_suite, run_world, why_missing
from harness.equivalence import Comparison, Kind, WorldRun, compare, parse_junit, parse_upstream
from harness.errors import UsageError
from harness.runtime.interrupts import sigterm_interrupts
from harness.runtime.paths import new_run_folder, runs_home

FLAGS_OF = {
    "kind": ("--reuse", "--keep"),
    "containers": ("--reuse", "--keep"),
    "kubernetes": ("--kubeconfig", "--namespaces", "--install", "--allow-remote", "--image-prefix"),
}
"""The flags that are passed on to pytest, by the world that they are for."""


def equivalence(
    world: Worlds = None,
    suite: Suites = None,
    chosen: Chosen = "",
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    namespaces: Namespaces = None,
    install: Install = False,
    allow_remote: AllowRemote = False,
    image_prefix: ImagePrefix = None,
    reuse: Reuse = False,
    keep: Keep = False,
    junit: Annotated[
        list[str] | None,
        typer.Option("--junit", metavar="WORLD=FILE", help="Compare these junit.xml files; run nothing."),
    ] = None,
    reports: Reports = None,
    as_json: Json = False,
) -> None:
    """Run the same tests in every world, and compare the verdicts.

    Each test's verdicts are shown side by side. The exit code is 1 if they differ without a missing capability that
    says why, or if a test failed.
    """
    with sigterm_interrupts():
        if junit:
            runs = [_read(option) for option in junit]
            folder = new_run_folder(runs_home(reports), "equivalence")
        else:
            given = flags(
                None, context, kubeconfig, namespaces,
                install=install, keep=keep, reuse=reuse, allow_remote=allow_remote, image_prefix=image_prefix,
            )  # fmt: skip
            worlds, chosen_suite = _worlds(world), _suite(suite, chosen, context, options_of(given))
            folder = new_run_folder(runs_home(reports), "equivalence")
            runs = _run_all(worlds, chosen_suite, folder, sys.stderr if as_json else sys.stdout)
        raise typer.Exit(_tell(compare(runs, _capabilities()), folder, as_json=as_json))


def _worlds(chosen: Sequence[str] | None) -> Sequence[str]:
    for name in chosen or ():
        if name not in WORLDS:
            words = f"expected {', '.join(WORLDS[:-1])} or {WORLDS[-1]}"
            raise UsageError(f"equivalence: --world: {words}, got {name!r}")
    return tuple(dict.fromkeys(chosen)) if chosen else WORLDS


def options_of(given: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """World -> the options of pytest that the flags of `given` are for it."""
    return {world: tuple(_argv({flag: given[flag] for flag in names})) for world, names in FLAGS_OF.items()}


def _argv(flags: Mapping[str, Any]) -> Iterator[str]:
    for flag, value in flags.items():
        if isinstance(value, Mapping):
            value = ",".join(f"{logical}={physical}" for logical, physical in value.items())
        if value is True:
            yield flag
        elif value:
            yield from (flag, str(value))


def _suite(
    paths: Sequence[str] | None, chosen: str, context: str | None, options: Mapping[str, tuple[str, ...]]
) -> Suite:
    for path in paths or ():
        if not Path(path.partition("::")[0]).exists():
            raise UsageError(f"equivalence: --suite: no such file or folder: {path}")
    found = tuple(paths or default_suite())
    if not found:
        raise UsageError("equivalence: this is not a clone of Rehearsal: name your own tests with --suite PATH")
    return Suite(found, chosen, context, options)


def _read(option: str) -> WorldRun:
    name, equals, file = option.partition("=")
    if not (name and equals and file):
        raise UsageError(f"equivalence: --junit: expected WORLD=FILE, got {option!r}")
    try:
        text = Path(file).read_text(encoding="utf-8")
        return WorldRun(name, parse_junit(text, f"equivalence: {file}"), upstream=parse_upstream(text))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a junit.xml"
        raise UsageError(f"equivalence: {file}: {reason}") from None


def _run_all(worlds: Sequence[str], suite: Suite, folder: Path, screen: TextIO) -> list[WorldRun]:
    from harness.runtime.events import EventLog
    from harness.runtime.supervisor import Supervisor

    events = EventLog(folder / "events.jsonl")
    runs = []
    try:
        with Supervisor(folder, events) as supervisor:
            for world in worlds:
                missing = why_missing(world, suite)
                said = (
                    f"not run: {missing}"
                    if missing
                    else f"running; its log is {supervisor.log_path(f'pytest-{world}')}"
                )
                print(f"{world}: {said}", file=screen, flush=True)
                runs.append(WorldRun(world, {}, missing) if missing else run_world(world, suite, folder, supervisor))
    finally:
        events.close()
    return runs


def _capabilities() -> set[str]:
    from harness.backends.backend import Capability

    return {capability.value for capability in Capability}


def _tell(found: Comparison, folder: Path, *, as_json: bool) -> int:
    from harness.report.equivalence import write_equivalence

    page = write_equivalence(found, folder)
    print(json.dumps(found.as_json()) if as_json else "\n".join([*lines(found), f"report   {page}"]))
    return 0 if found.equivalent else 1


def lines(found: Comparison) -> Iterator[str]:
    """The table of verdicts, what explains the differences, and the sum of it."""
    if found.rows:
        rows = [("test", *found.worlds)]
        rows += [(row.case, *(row.outcomes[world].verdict.value for world in found.worlds)) for row in found.rows]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        yield from ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    for kind in (Kind.EXPLAINED, Kind.DEFECT):
        if of := found.of(kind):
            yield ""
            yield f"{'differences that a missing capability explains' if kind is Kind.EXPLAINED else 'defects'}:"
            yield from (f"  {row.case}: {row.why}" for row in of)
    if found.upstream:
        yield ""
        yield "findings against upstream programs:"
        yield from ("  {program} {version}: {title}: {shown}".format_map(each) for each in found.upstream)
    yield ""
    for world, why in found.missing.items():
        yield f"not run  {world}: {why}"
    alike, explained, defects = (len(found.of(kind)) for kind in (Kind.ALIKE, Kind.EXPLAINED, Kind.DEFECT))
    worlds = ", ".join(found.worlds) or "no world"
    verdict = "EQUIVALENT" if found.equivalent else "NOT EQUIVALENT" if found.rows else "NOTHING RAN"
    yield f"{verdict}: {worlds}: {alike} alike, {explained} with a missing capability, {defects} defects"
