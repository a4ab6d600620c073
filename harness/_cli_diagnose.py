"""`rehearse diagnose`: why a run failed, from its record; or what is abnormal in namespaces of a cluster now."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness._cli_options import Json, Reports
from harness.errors import AccessDenied, UsageError
from harness.runtime.paths import find_run, new_run_folder, runs_home
from harness.runtime.redact import redact_text

if TYPE_CHECKING:
    from harness.clients.kubernetes import Kube
    from harness.report.record import ClusterFinding, RunRecord

MOST = 8  # lines of what else was abnormal; the index has all


@dataclass(frozen=True)
class Place:
    """Namespaces of the cluster that a kubeconfig's context names."""

    context: str
    namespaces: Sequence[str]
    kubeconfig: Path | None = None

    @property
    def kubectl(self) -> str:
        """How a kubectl command for this cluster begins."""
        config = f" --kubeconfig {self.kubeconfig}" if self.kubeconfig else ""
        return f"kubectl{config} --context {self.context}"


def diagnose(
    run: Annotated[str, typer.Argument(metavar="[RUN]", help="Run id, the start of one, a run folder.")] = "latest",
    context: Annotated[
        str | None, typer.Option("--context", metavar="NAME", help="Look at this cluster now, instead of at a run.")
    ] = None,
    namespace: Annotated[
        list[str] | None,
        typer.Option("--namespace", "-n", metavar="NAME", help="With --context; may be given several times."),
    ] = None,
    kubeconfig: Annotated[
        Path | None, typer.Option("--kubeconfig", metavar="FILE", help="With --context; else kubectl's own.")
    ] = None,
    reports: Reports = None,
    as_json: Json = False,
) -> None:
    """Say what most likely brought a run down, and the next command.

    With --context and --namespace it looks at a cluster as it is now: descriptions, events, logs, routes, Envoy's
    configuration, masked, in a new folder. Only reads; no Secret is asked for.
    """
    home = runs_home(reports)
    if context is None:
        if namespace or kubeconfig:
            raise UsageError(
                "diagnose: --namespace and --kubeconfig need --context", hint="name the cluster's context."
            )
        _print_run(find_run(run, home), as_json=as_json)
    elif not namespace:
        raise UsageError("diagnose: --context needs --namespace", hint=f"kubectl --context {context} get namespaces")
    elif run != "latest":
        raise UsageError("diagnose: a run or --context, not both")
    else:
        _look(Place(context, namespace, kubeconfig), home, as_json=as_json)


def _print_run(folder: Path, *, as_json: bool) -> None:
    from harness.report.store import load_record

    record = load_record(folder)
    typer.echo(_run_json(record, folder) if as_json else redact_text("\n".join(_run_lines(record, folder))))


def _run_json(record: RunRecord, folder: Path) -> str:
    from harness.report.cause import likely, next_step, suspects
    from harness.runtime.redact import redact

    told = {
        "run": record.run_id,
        "status": record.status.value,
        "likely": likely(record),
        "next": next_step(record),
        "suspects": [asdict(suspect) for suspect in suspects(record)],
        "cluster": [finding.model_dump() for finding in record.cluster],
        "diagnostics": str(folder / record.artifacts["diagnostics"]) if "diagnostics" in record.artifacts else "",
    }
    return json.dumps(redact(told))


def _run_lines(record: RunRecord, folder: Path) -> Iterator[str]:
    from harness.report.cause import likely, next_step, suspects

    yield f"{record.status.value.upper()}: {(record.decided_by or record.title).splitlines()[0]}"
    if found := likely(record):
        yield f"likely   {found}"
    if step := next_step(record):
        yield f"next     {step}"
    for suspect in suspects(record)[1:MOST]:
        yield f"or       {suspect.words} ({suspect.why})"
    if files := record.artifacts.get("diagnostics"):
        yield f"files    {folder / files}"
    yield f"report   {folder / 'index.html'}"


def _look(place: Place, home: Path, *, as_json: bool) -> None:
    from harness.backends.kubernetes.diagnostics.collect import collect
    from harness.clients.kubernetes import Kube

    with Kube.connect(place.kubeconfig, place.context) as kube:
        for name in place.namespaces:
            _require(kube, name, place)
        folder = new_run_folder(home, "diagnosis")
        found = collect(kube, folder, namespaces=place.namespaces, kubectl=place.kubectl)
    if as_json:
        findings = [finding.model_dump() for finding in found.findings]
        typer.echo(json.dumps({"index": str(found.index), "cluster": findings, "missed": found.missed}))
    else:
        typer.echo("\n".join([*_finding_lines(found.findings), f"files    {found.index}"]))


def _require(kube: Kube, name: str, place: Place) -> None:
    """A namespace that is not there is a slip of the pen; one that may not be looked at may still be read in part."""
    try:
        if kube.find("v1/Namespace", name) is None:
            raise UsageError(f"diagnose: there is no namespace {name!r}", hint=f"{place.kubectl} get namespaces")
    except AccessDenied:
        return


def _finding_lines(findings: Sequence[ClusterFinding]) -> Iterator[str]:
    from harness.backends.kubernetes.diagnostics.abnormal import ranked
    from harness.backends.kubernetes.diagnostics.describe import clock

    if not findings:
        yield "Nothing there is abnormal."
    for place, finding in enumerate(ranked(findings)[:MOST]):
        label = "or      " if place else "likely  "
        yield f"{label} {finding.words} (since {clock(finding.at)}; {finding.because})"
        if not place:
            yield f"next     {finding.next}"
