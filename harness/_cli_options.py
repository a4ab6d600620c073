"""Options that several commands have."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from harness.errors import ConfigError
from harness.lifecycle.slo import SLO

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document, for scripts.")]
Reports = Annotated[
    Path | None,
    typer.Option("--reports", metavar="FOLDER", help="Folder of the run folders (./reports).", show_default=False),
]
Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings (./rehearsal.toml, if it is there).")
]
Checks = Annotated[
    str | None, typer.Option("--checks", metavar="FILE", help="Checks of the candidate (manifests/checks).")
]
Worlds = Annotated[
    list[str] | None, typer.Option("--world", metavar="WORLD", help="embedded, kind, ... (all that are here).")
]
Suites = Annotated[
    list[str] | None, typer.Option("--suite", metavar="PATH", help="Tests (the contract suite and the scenarios).")
]
Promise = Annotated[
    str | None,
    typer.Option("--slo", metavar="SLO", help="errors=0.02,slower_than_ms=100,slow=0.05; what is left out is so."),
]
Chosen = Annotated[str, typer.Option("-k", metavar="EXPRESSION", help="Only these tests, as pytest takes it.")]


def slo_of(text: str | None) -> SLO:
    """An SLO from name=value,...; ConfigError for a name that there is not or a value that is none."""
    given: dict[str, float] = {}
    allowed = [each.name for each in fields(SLO)]
    for part in filter(None, (text or "").split(",")):
        name, _, value = part.partition("=")
        if name not in allowed:
            raise ConfigError(f"--slo: expected {'=..., '.join(allowed)}=..., got {part!r}")
        try:
            given[name] = float(value)
        except ValueError:
            raise ConfigError(f"--slo: {name}: expected a number, got {value!r}") from None
    return SLO(**given)
