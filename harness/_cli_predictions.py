"""`rehearse predictions`: what a prediction log has of a service, and how good its predictions turned out to be."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness._cli_options import Json, Reports
from harness.components.prediction_log import LOG, NAME
from harness.errors import UsageError
from harness.runtime.paths import find_run, runs_home

if TYPE_CHECKING:
    from harness.report.record import PredictionsRecord, QualityWindow

BELOW_RUN = f"components/{NAME}/{LOG}"


def predictions(
    run: Annotated[str, typer.Argument(metavar="[RUN]", help="Run id, the start of one, a run folder.")] = "latest",
    log: Annotated[
        Path | None, typer.Option("--log", metavar="FOLDER", help="The folder of a log, instead of a run's.")
    ] = None,
    service: Annotated[
        str | None, typer.Option("--service", metavar="NAMESPACE/NAME", help="Which, if the log has several.")
    ] = None,
    features: Annotated[
        str | None, typer.Option("--features", metavar="A,B,…", help="The columns (those of the first request).")
    ] = None,
    window_s: Annotated[
        float, typer.Option("--window", metavar="SECONDS", min=1.0, help="The windows that quality is told for.")
    ] = 3600.0,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the labelled rows there, as Parquet.")
    ] = None,
    target: Annotated[
        str, typer.Option("--target", metavar="NAME", help="With --out: what the label's column is called.")
    ] = "label",
    reports: Reports = None,
    as_json: Json = False,
) -> None:
    """Read a prediction log: its rows, and the quality of the predictions once labels came.

    Requests, responses and labels are joined by id. A figure needs 30 labels; its interval holds with 95 %.
    """
    folder = log or find_run(run, runs_home(reports)) / BELOW_RUN
    if not (folder / "parts").is_dir():
        raise UsageError(
            f"predictions: {folder} has no prediction log",
            hint="platform.prediction_log(service) makes a run keep one.",
        )
    from harness.prediction_log import job

    namespace, name = _chosen(folder, service)
    export = {"path": str(out), "target": target, "labelled": True} if out else None
    columns = [each.strip() for each in features.split(",")] if features else None
    found = job.read(
        {"folder": str(folder), "namespace": namespace, "service": name, "features": columns,
         "window_s": window_s, "export": export}
    )  # fmt: skip
    typer.echo(found.model_dump_json() if as_json else "\n".join(_lines(found, out)))


def _chosen(folder: Path, service: str | None) -> tuple[str, str]:
    from harness.prediction_log.reader import services

    known = {f"{namespace}/{name}": (namespace, name) for namespace, name in services(folder)}
    if service is None and len(known) == 1:
        return next(iter(known.values()))
    if service not in known:
        listed = ", ".join(known) or "none"
        got = "" if service is None else f", got {service}"
        raise UsageError(f"predictions: --service: expected one of the log's services ({listed}){got}")
    return known[service]


def _lines(found: PredictionsRecord, out: Path | None) -> Iterator[str]:
    revisions = ", ".join(f"{name}: {rows:,}" for name, rows in found.revisions.items()) or "none"
    yield f"{found.service}: {found.rows:,} rows predicted ({revisions}), {found.labelled:,} labelled"
    for words, count in (
        ("requests without a response", found.unanswered),
        ("responses without a request", found.unasked),
        ("calls that failed or have other columns", found.unreadable),
    ):
        if count:
            yield f"  {count:,} {words}"
    yield from map(_window, found.windows)
    if out:
        yield f"wrote {out}"


def _window(window: QualityWindow) -> str:
    begins = datetime.fromtimestamp(window.start, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    figures = "  ".join(f"{each.name} {each.value:.3f} ({each.low:.3f} to {each.high:.3f})" for each in window.metrics)
    return f"  {begins}  {window.rows:>8,} rows {window.labelled:>8,} labels  {figures or 'too few labels'}"
