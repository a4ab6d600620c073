"""`rehearse load`: the options; harness._load_command does what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness import _cli_world
from harness._cli_options import Config, Json, Promise, Reports
from harness.errors import UsageError


def load(
    rps: Annotated[float | None, typer.Option("--rps", metavar="N", help="One rate: requests a second (50).")] = None,
    seconds: Annotated[
        float | None, typer.Option("--for", metavar="SECONDS", help="How long, at one rate (30).")
    ] = None,
    shape: Annotated[
        str | None,
        typer.Option("--shape", metavar="SHAPE", help="KIND:field=value,..., or a .toml file (manifests/shapes)."),
    ] = None,
    trace: Annotated[
        str | None, typer.Option("--trace", metavar="FILE", help="Replay a recorded trace: CSV or Parquet.")
    ] = None,
    speed: Annotated[float, typer.Option("--speed", metavar="N", help="How many times as fast as recorded.")] = 1.0,
    arrivals: Annotated[str, typer.Option("--arrivals", metavar="KIND", help="constant or poisson.")] = "constant",
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of Poisson arrivals, and of the rows.")] = 7,
    users: Annotated[int, typer.Option("--users", metavar="N", help="How many users to name in x-user-id.")] = 0,
    processes: Annotated[int, typer.Option("--processes", metavar="N", help="How many processes send it.")] = 1,
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", help="How many Pods send it, instead (kind, kubernetes).")
    ] = 0,
    protocol: Annotated[str, typer.Option("--protocol", metavar="P", help="Inference protocol: v1 or v2.")] = "v1",
    payload: Annotated[
        Path | None, typer.Option("--payload", metavar="FILE", help="Request bodies, one a line (held-out rows).")
    ] = None,
    slo: Promise = None,
    run: Annotated[
        str | None, typer.Option("--run", metavar="RUN", help="To the platform that `rehearse up --serve` keeps.")
    ] = None,
    host: Annotated[
        str | None, typer.Option("--host", metavar="URL", help="To a server that others run: http://HOST:PORT.")
    ] = None,
    service_host: Annotated[
        str, typer.Option("--service-host", metavar="NAME", help="The Host header of requests to --host.")
    ] = "",
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="The model's name at --host.")] = "model",
    deadline: Annotated[
        float | None, typer.Option("--deadline", metavar="SECONDS", help="The longest that the load may last.")
    ] = None,
    capacity: Annotated[
        bool, typer.Option("--find-capacity", help="Search the highest rate that keeps the SLO, instead.")
    ] = False,
    low: Annotated[float, typer.Option("--low", metavar="N", help="The search begins at so many a second.")] = 10.0,
    high: Annotated[float, typer.Option("--high", metavar="N", help="The search ends there.")] = 2000.0,
    precision: Annotated[
        float, typer.Option("--precision", metavar="SHARE", help="How near to the first rate that is too high.")
    ] = 0.05,
    confidence: Annotated[
        float, typer.Option("--confidence", metavar="P", help="How sure the search must be of its rate.")
    ] = 0.99,
    budget: Annotated[float, typer.Option("--budget", metavar="SECONDS", help="What the search may take.")] = 180.0,
    config: Config = None,
    backend: _cli_world.Backend = None,
    context: _cli_world.Context = None,
    kubeconfig: _cli_world.Kubeconfig = None,
    namespaces: _cli_world.Namespaces = None,
    image_prefix: _cli_world.ImagePrefix = None,
    install: _cli_world.Install = False,
    keep: _cli_world.Keep = False,
    reuse: _cli_world.Reuse = False,
    allow_remote: _cli_world.AllowRemote = False,
    reports: Reports = None,
    as_json: Json = False,
) -> None:
    """Offer a load to a model, and judge it by its SLO.

    Without --run or --host a platform is started for it, with the candidate of the main job as its model. The exit code
    is 1 if the SLO is broken, if a request is unexplained, or if --find-capacity confirms no rate.
    """
    from harness import _load_command as command

    if capacity and (rps, seconds, shape, trace) != (None,) * 4:
        raise UsageError("load: --find-capacity chooses the rates itself", hint="--low and --high bound them.")
    if workers and (capacity or run or host):
        raise UsageError("load: --workers send one load, to a platform of its own")
    wanted = command.shape_of(rps, seconds, shape, trace, speed)
    choice = command.Choice(
        shape=wanted,
        manner=command.manner(slo, arrivals, seed, users, processes, protocol, payload, workers),
        max_s=command.longest(wanted) if deadline is None else deadline,
        target=command.target(run, host, service_host, model, allow_remote=allow_remote),
        search=(low, high, precision, confidence, budget) if capacity else None,
    )
    world = _cli_world.flags(
        backend,
        context,
        kubeconfig,
        namespaces,
        image_prefix=image_prefix,
        install=install,
        keep=keep,
        reuse=reuse,
        allow_remote=allow_remote,
    )
    raise typer.Exit(command.offer(choice, config, world, reports, as_json=as_json))
