"""`rehearse images`: the catalogue with what is here of it, and the build of what is not."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness._cli_options import Json
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.images import State

images_app = typer.Typer(help="What clusters are made of: list it, get it.", no_args_is_help=True)

Names = Annotated[
    list[str] | None, typer.Argument(metavar="NAME", help="Which of them; by default all.", show_default=False)
]
COLUMNS = ("name", "how", "size", "seconds", "key")


@images_app.command("list")
def list_items(names: Names = None, as_json: Json = False) -> None:
    """List the catalogue: how each is had here, its size, and how long it took.

    Nothing is changed; an image that was made of something else than now counts as missing.
    """
    from harness.errors import CapabilityMissing
    from harness.images import How, State, load, survey
    from harness.images.builder import item_keys

    catalogue = load()
    ids = [item.id for name in names for item in catalogue.find(name)] if names else list(catalogue.items)
    try:
        states = list(survey(catalogue, ids).values())
    except CapabilityMissing as no_docker:
        print(f"rehearse: {no_docker}", file=sys.stderr)
        keys = item_keys(catalogue, ids)
        others = survey(catalogue, [each for each in ids if not catalogue.items[each].is_image])
        states = [others.get(each) or State(catalogue.items[each], How.MISSING, keys[each]) for each in ids]
    typer.echo(_as_json(states) if as_json else table(states))


@images_app.command("build")
def build_items(
    names: Names = None,
    pull: Annotated[bool, typer.Option("--pull", help="Pull all upstream images; build none of them.")] = False,
    build: Annotated[bool, typer.Option("--build", help="Build all upstream images; pull none.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be built, and whether this machine could.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Get what is missing: pulled where a registry answers, else built from Go modules, packages and wheels.

    What is up to date is left alone. Progress and times go to standard error. What the machine lacks for it (Docker,
    Go, mmdebstrap, disk) is said before anything is made.
    """
    from harness._cli_progress import Progress
    from harness.errors import CapabilityMissing
    from harness.images import Source
    from harness.images import build as get
    from harness.images import missing as would_get
    from harness.runtime.interrupts import sigterm_interrupts

    if pull and build:
        raise UsageError("images build: --pull and --build exclude each other")
    source = Source.PULL if pull else Source.BUILD if build else Source.AUTO
    try:
        if dry_run:
            ids = would_get(names or (), source=source)
            typer.echo(json.dumps(ids) if as_json else "\n".join(ids))
            return
        with Progress(sys.stderr) as progress, sigterm_interrupts():
            states = get(names or (), source=source, listener=progress)
    except CapabilityMissing as lacking:  # a build was asked for: that is no skip
        raise UsageError(f"images build: {lacking.message}", hint=lacking.hint) from lacking
    typer.echo(_as_json(states) if as_json else table(states))


@images_app.command("push")
def push_items(
    prefix: Annotated[str, typer.Argument(metavar="PREFIX", help="Where to: registry.example/ml.")],
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Which; by default what a cluster needs.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Push what a cluster of yours needs of us to its registry, under PREFIX.

    Docker pushes, with what `docker login` has; the cluster is told the prefix by --image-prefix.
    """
    from harness._cli_progress import Progress
    from harness.backends.kubernetes.registry import check_prefix, for_clusters, moved
    from harness.images import load
    from harness.images.push import push
    from harness.runtime.interrupts import sigterm_interrupts

    check_prefix(prefix)
    catalogue = load()
    wanted = [item.id for name in names or () for item in catalogue.find(name) if item.is_image] or for_clusters()
    with Progress(sys.stderr) as progress, sigterm_interrupts():
        pushed = push(wanted, lambda name: moved(name, prefix), progress)
    typer.echo(json.dumps(pushed) if as_json else "\n".join(pushed))


def table(states: list[State]) -> str:
    """One line an item, in columns."""
    rows = [COLUMNS, *(_row(state) for state in states)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _row(state: State) -> tuple[str, ...]:
    seconds = "" if state.seconds is None else f"{state.seconds:.1f}"
    size = f"{state.size / 1e6:.1f} MB" if state.size else ""
    return (state.item.id, state.how, size, seconds, state.key)


def _as_json(states: list[State]) -> str:
    documents: list[dict[str, Any]] = [
        {
            "name": state.item.id,
            "section": state.item.section,
            "kind": state.item.kind,
            "how": state.how,
            "bytes": state.size,
            "seconds": state.seconds,
            "key": state.key,
        }
        for state in states
    ]
    return json.dumps(documents)
