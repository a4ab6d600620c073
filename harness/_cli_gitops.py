"""`rehearse gitops`: the commits of a run's desired state, and what was said of each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness._cli_options import Json, Reports
from harness.errors import UsageError
from harness.runtime.paths import find_run, runs_home

if TYPE_CHECKING:
    from harness.report.record import CommitRecord


def gitops(
    run: Annotated[str, typer.Argument(metavar="[RUN]", help="Run id, the start of one, a run folder.")] = "latest",
    commit: Annotated[
        str | None, typer.Option("--commit", metavar="SHA", help="Only this one; the start of its id is enough.")
    ] = None,
    reports: Reports = None,
    as_json: Json = False,
) -> None:
    """List the commits of a run's desired state, each with its statuses.

    Also of a run that still goes on, and also those that were refused. The exit code is 1 if the newest commit has a
    status that failed.
    """
    from harness.gitops.gitops import commits, repository_of

    home = runs_home(reports)
    under_way = [each for each in (Path(run), home / run) if repository_of(each).folder.is_dir()]
    folder = under_way[0] if under_way else find_run(run, home)
    repository = repository_of(folder)
    if not repository.folder.is_dir():
        raise UsageError(
            f"gitops: {folder.name} has no repository", hint="platform.gitops(model) makes a run keep one."
        )
    every = commits(repository)
    chosen = [each for each in every if each.sha.startswith(commit)] if commit else every
    if not chosen:
        known = ", ".join(each.sha[:8] for each in every) or "none"
        raise UsageError(f"gitops: --commit: expected one of {known}, got {commit}")
    told = [each.model_dump() for each in chosen]
    typer.echo(json.dumps(told) if as_json else "\n".join(line for each in chosen for line in _lines(each)))
    raise typer.Exit(1 if any(status.state == "failure" for status in chosen[-1].statuses) else 0)


def _lines(commit: CommitRecord) -> Iterator[str]:
    refused = "" if commit.taken else "  (refused)"
    yield f"{commit.sha[:8]}  {commit.author:<14}  {commit.subject}{refused}"
    for status in commit.statuses:
        yield f"          {status.state:<8}  {status.context:<18}  {status.description}"
