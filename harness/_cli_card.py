"""`rehearse card`: the model card of a version of a run, made again from its record."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from harness._cli_options import Json, Reports


def card(
    run: Annotated[
        str, typer.Argument(metavar="[RUN]", help="Run id, the start of one, a run folder, or latest.")
    ] = "latest",
    version: Annotated[
        int | None, typer.Option("--version", metavar="N", help="Of which version (the champion, else the last).")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", metavar="NAME", help="Of which model, if several.")] = None,
    reports: Reports = None,
    as_json: Json = False,
) -> None:
    """Write the model card of a version again, from the record of its run.

    Writes a page and Markdown into the run folder and prints their paths; in MLflow the card is an artifact of the
    version's run.
    """
    from harness.report.card import write_card
    from harness.report.store import load_record
    from harness.runtime.paths import find_run, runs_home

    folder = find_run(run, runs_home(reports))
    page, text = write_card(load_record(folder), folder, name=model, version=version)
    told = {"run": folder.name, "page": str(page), "markdown": str(text)}
    typer.echo(json.dumps(told) if as_json else f"{page}\n{text}")
