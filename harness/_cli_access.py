"""`rehearse access`: who may do what with the platform itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

import typer

from harness._cli_options import Json
from harness.errors import UsageError
from harness.lifecycle.access import MATRIX, ROLES, cells


def access(
    role: Annotated[str | None, typer.Option("--role", metavar="ROLE", help="Only what this one may.")] = None,
    as_json: Json = False,
) -> None:
    """Print the matrix: role, verb, resource.

    MLflow, the gateway and the desired state's repository of a restricted platform are held to it, and a scenario tries
    every cell. What the same roles may do in a cluster is in docs/access.md.
    """
    if role is not None and role not in ROLES:
        raise UsageError(f"access: --role: expected {', '.join(ROLES)}, got {role!r}")
    if as_json:
        typer.echo(json.dumps([asdict(cell) for cell in cells() if role in (None, cell.role)]))
    else:
        typer.echo("\n".join(_lines((role,) if role else ROLES)))


def _lines(roles: tuple[str, ...]) -> Iterator[str]:
    wide = max(len(right.resource) for right in MATRIX) + 2
    yield f"{'resource':<{wide}}{'verb':<26}" + "".join(f"{role:<16}" for role in roles).rstrip()
    for right in MATRIX:
        marks = "".join(f"{'yes' if role in right.roles else '-':<16}" for role in roles)
        yield f"{right.resource:<{wide}}{right.verb:<26}{marks}".rstrip()
