"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, for scripts.")]
Reports = Annotated[
    Path | None,
    typer.Option("--reports", metavar="FOLDER", help="Folder of the run folders (./reports).", show_default=False),
]
Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings (./rehearsal.toml, if it is there).")
]
Worlds = Annotated[
    list[str] | None, typer.Option("--world", metavar="WORLD", help="embedded, kind, ... (all that are here).")
]
Suites = Annotated[
    list[str] | None, typer.Option("--suite", metavar="PATH", help="Tests (the contract suite and the scenarios).")
]
Chosen = Annotated[str, typer.Option("-k", metavar="EXPRESSION", help="Only these tests, as pytest takes it.")]
