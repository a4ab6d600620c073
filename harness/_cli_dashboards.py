"""`rehearse dashboards`: what Grafana is given, as files for a Grafana of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from harness._cli_options import Json
from harness.errors import UsageError

PROMETHEUS = "http://localhost:9090"


def dashboards(
    write: Annotated[
        Path | None,
        typer.Option("--write", metavar="FOLDER", help="Write Grafana's provisioning folder: JSON and YAML."),
    ] = None,
    prometheus: Annotated[
        str | None,
        typer.Option("--prometheus", metavar="URL", help=f"With --write: the data source for Grafana ({PROMETHEUS})."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the dashboards and their panels, or write what Grafana is provisioned with.

    Grafana reads the files where they were written: start it with GF_PATHS_PROVISIONING=FOLDER.
    """
    if write is not None:
        names = _write(write, PROMETHEUS if prometheus is None else prometheus)
        typer.echo(json.dumps({"files": names}) if as_json else "\n".join(names))
    elif prometheus is not None:
        raise UsageError("dashboards: --prometheus: is for the files that --write FOLDER writes")
    else:
        typer.echo(_listed(as_json=as_json))


def _listed(*, as_json: bool) -> str:
    from harness.dashboards import DASHBOARDS

    if as_json:
        return json.dumps({each.uid: [panel.title for panel in each.panels] for each in DASHBOARDS})
    lines = []
    for each in DASHBOARDS:
        units = [f" ({panel.unit.value})" if panel.unit.value else "" for panel in each.panels]
        lines += [f"{each.uid}: {each.says}"]
        lines += [f"  {panel.title}{unit}" for panel, unit in zip(each.panels, units, strict=True)]
    return "\n".join(lines)


def _write(folder: Path, prometheus: str) -> list[str]:
    """Write the files; returns their paths."""
    from harness.components.files import replace_text
    from harness.dashboards.provisioning import files

    if urlsplit(prometheus).scheme not in ("http", "https") or not urlsplit(prometheus).netloc:
        raise UsageError(f"dashboards: --prometheus: expected http://HOST:PORT or https://HOST, got {prometheus!r}")
    paths = []
    for name, text in files(prometheus, folder=str(folder.absolute())).items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_text(path, text, beside=path.parent)
        except OSError as error:
            raise UsageError(f"dashboards: --write: cannot write {path}: {error.strerror}") from error
        paths.append(str(path))
    return paths
