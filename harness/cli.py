"""The command line; `main` is the one place where an error becomes a line and an exit code.

Exit codes: 0 all passed, 1 the rehearsal failed, 2 the input is wrong, 130 interrupted.
Everything heavy is imported when a command needs it, so that --help answers at once.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from harness import __version__, _cli_world
from harness._cli_access import access
from harness._cli_card import card
from harness._cli_check import check
from harness._cli_compare import compare
from harness._cli_dashboards import dashboards
from harness._cli_diagnose import diagnose
from harness._cli_drift_bench import drift_bench
from harness._cli_equivalence import equivalence
from harness._cli_gitops import gitops
from harness._cli_images import images_app
from harness._cli_load import load
from harness._cli_loop import loop
from harness._cli_nightly import nightly
from harness._cli_options import Checks, Config, Json, Reports
from harness._cli_predictions import predictions
from harness._cli_rules import rules
from harness._cli_simulate import simulate
from harness._cli_trend import trend
from harness.errors import RehearsalError, UsageError

EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="rehearse",
    help="Rehearse an ML release on the real programs, before production sees it.\n\n"
    "Without a command, ./rehearse does `rehearse run`: train, register, deploy, canary, drift and a report.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

Run = Annotated[str, typer.Argument(metavar="RUN", help="Run id, the start of one, a run folder, or latest.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rehearse {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command()
def run(
    config: Config = None,
    data: Annotated[str | None, typer.Option("--data", metavar="FILE", help="Your data: CSV or Parquet.")] = None,
    target: Annotated[str | None, typer.Option("--target", metavar="COLUMN", help="The column to predict.")] = None,
    task: Annotated[str | None, typer.Option("--task", metavar="TASK", help="classification or regression.")] = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", metavar="NUMBER", help="Makes two classes of a numeric target.")
    ] = None,
    positive: Annotated[
        str | None, typer.Option("--positive", metavar="LABEL", help="The label of the positive class.")
    ] = None,
    train: Annotated[
        str | None, typer.Option("--train", metavar="MODULE:FUNCTION", help="Your training function.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Name of the run.")] = None,
    checks: Checks = None,
    policy: Annotated[
        str | None, typer.Option("--policy", metavar="FILE", help="How it is released (manifests/policies).")
    ] = None,
    backend: _cli_world.Backend = None,
    context: _cli_world.Context = None,
    kubeconfig: _cli_world.Kubeconfig = None,
    namespaces: _cli_world.Namespaces = None,
    install: _cli_world.Install = False,
    keep: _cli_world.Keep = False,
    reuse: _cli_world.Reuse = False,
    allow_remote: _cli_world.AllowRemote = False,
    image_prefix: _cli_world.ImagePrefix = None,
    reports: Reports = None,
    as_json: Json = False,
) -> None:
    """Rehearse the whole life of a release.

    The exit code is 0 only if every step passed.
    """
    from harness._cli_run import rehearse_release

    world = _cli_world.flags(
        backend,
        context,
        kubeconfig,
        namespaces,
        install=install,
        keep=keep,
        reuse=reuse,
        allow_remote=allow_remote,
        image_prefix=image_prefix,
    )
    flags = {
        **world,
        "--data": data,
        "--target": target,
        "--task": task,
        "--threshold": threshold,
        "--positive": positive,
        "--train": train,
        "--name": name,
        "--checks": checks,
        "--policy": policy,
        "--reports": str(reports) if reports else None,
    }
    raise typer.Exit(rehearse_release(config, flags, as_json=as_json))


@app.command()
def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return once it is ready; `down` stops it.")] = False,
    serve: Annotated[
        bool,
        typer.Option("--serve", help="Train the candidate of the main job and serve it, for `rehearse load --run`."),
    ] = False,
    backend: _cli_world.Backend = None,
    context: _cli_world.Context = None,
    kubeconfig: _cli_world.Kubeconfig = None,
    namespaces: _cli_world.Namespaces = None,
    install: _cli_world.Install = False,
    keep: _cli_world.Keep = False,
    reuse: _cli_world.Reuse = False,
    allow_remote: _cli_world.AllowRemote = False,
    image_prefix: _cli_world.ImagePrefix = None,
    reports: Reports = None,
    as_json: Json = False,
    ready_fd: Annotated[int, typer.Option(hidden=True)] = -1,
) -> None:
    """Start a platform and print its addresses.

    It is kept until Ctrl-C or `rehearse down`.
    """
    from harness import _cli_up

    world = _cli_world.flags(
        backend,
        context,
        kubeconfig,
        namespaces,
        install=install,
        keep=keep,
        reuse=reuse,
        allow_remote=allow_remote,
        image_prefix=image_prefix,
    )
    options = _cli_up.world(world)
    if detach:
        _cli_up.detach(reports, options, serve=serve, as_json=as_json)
    else:
        _cli_up.keep_up(reports, options, serve=serve, as_json=as_json, ready_fd=ready_fd)


@app.command()
def status(as_json: Json = False) -> None:
    """List the running platforms and their addresses."""
    from harness._cli_up import describe_runs

    _print(describe_runs(as_json=as_json))


@app.command()
def down(
    name: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="Run id; may be left out if only one runs.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Stop all of them.")] = False,
) -> None:
    """Stop a running platform and wait until it is gone."""
    from harness._cli_up import stop_runs

    for run_id in stop_runs(name, everything=everything):
        typer.echo(f"stopped {run_id}")


@app.command()
def approve(
    name: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="Run id; may be left out if only one runs.")
    ] = None,
    refuse: Annotated[bool, typer.Option("--refuse", help="Roll back instead.")] = False,
    by: Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who says so (your user name).")] = None,
    rollout: Annotated[
        int | None, typer.Option("--rollout", metavar="N", help="Which rollout of the run, if several wait.")
    ] = None,
) -> None:
    """Let a rollout go on that waits for a person.

    A policy's `manual` weights wait; the record keeps who answered.
    """
    from harness._cli_approve import answer

    _print(answer(name, refuse=refuse, by=by, rollout=rollout))


@app.command()
def gc(
    kept: Annotated[bool, typer.Option("--kept", help="Also what --keep or --reuse left running.")] = False,
    context: _cli_world.Context = None,
    kubeconfig: _cli_world.Kubeconfig = None,
    namespaces: _cli_world.Namespaces = None,
    runs: Annotated[
        list[str] | None, typer.Option("--run", metavar="ID", help="A run in the cluster to be ended, dead or not.")
    ] = None,
    as_json: Json = False,
) -> None:
    """End what a run that died left behind: processes, kind clusters and networks, containers of builds.

    Nothing else is ever touched: a process counts only with the pid and the start time that the run noted, a cluster
    or a database server only if it is labelled as ours, nobody uses it and, without --kept, nobody keeps it; what is
    kept is named. What cannot be ended keeps nothing else from it: a line for each, and exit code 1.

    With --context, in that cluster: what carries the label of a run whose process is known to be dead. Other runs are
    told, and ended only by --run.
    """
    from harness import _cli_up

    if context is None:
        for flag, value in {"--kubeconfig": kubeconfig, "--namespaces": namespaces, "--run": runs}.items():
            if value:
                raise UsageError(f"gc: {flag}: needs --context NAME, the cluster to look at")
        found = _cli_up.collect_garbage(kept=kept)
        if told := found.told(as_json=as_json):
            _print(told)
        for line in found.failed:
            _complain(line, 1)
        if found.failed:
            raise typer.Exit(1)
        return
    if kept:
        raise UsageError("gc: --kept: is about what is kept on this machine, not about --context")
    where = {"--context": context, "--kubeconfig": kubeconfig, "--namespaces": _cli_world.pairs_of(namespaces)}
    options = _cli_up.world({"--backend": "kubernetes", **where})
    _print(_cli_up.collect_in_cluster(options, runs or (), as_json=as_json))


@app.command()
def doctor(
    backend: Annotated[
        str | None, typer.Option("--backend", metavar="BACKEND", help="Only this one; the exit code is about it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what is missing here, and how to get it.

    For each backend: what it needs, what is here. The exit code is 0 if the embedded backend is usable.
    """
    from harness.doctor import examine, needs_of, table, usable

    findings = examine(needs_of(backend))
    _print(json.dumps([finding.as_json() for finding in findings]) if as_json else table(findings))
    raise typer.Exit(0 if usable(findings, backend or "embedded") else 1)


@app.command()
def report(run: Run, reports: Reports = None, as_json: Json = False) -> None:
    """Render the report of a run again.

    Writes index.html from the run's run.json, load.html if it had loads, and prints the path.
    """
    from harness.runtime.paths import find_run, runs_home

    folder = find_run(run, runs_home(reports))
    from harness.report.load import write_load
    from harness.report.render import load_record, render

    record = load_record(folder)
    page = render(record, folder)
    write_load(record, folder)
    _print(json.dumps({"run": folder.name, "report": str(page)}) if as_json else str(page))


@app.command()
def chaos(
    policy: Annotated[
        list[str] | None, typer.Option("--policy", metavar="KIND", help="canary, ab, blue-green or shadow (all).")
    ] = None,
    fault: Annotated[
        list[str] | None, typer.Option("--fault", metavar="NAME", help="A fault of the catalogue (all).")
    ] = None,
    phase: Annotated[
        list[str] | None, typer.Option("--phase", metavar="NAME", help="A phase of the rollout (all).")
    ] = None,
    size: Annotated[
        int | None, typer.Option("--sample", metavar="N", help="How many cases (12; all that were chosen).")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Which sample is drawn.")] = 4,
    backend: _cli_world.Backend = None,
    list_only: Annotated[bool, typer.Option("--list", help="List the cases; run none.")] = False,
    reports: Reports = None,
    as_json: Json = False,
) -> None:
    """Put faults into rollouts, and check what must hold.

    Every option may be given several times. The exit code is 1 if an invariant broke.
    """
    from harness import _cli_up
    from harness._cli_chaos import Choice, list_cases, rehearse_chaos

    world = _cli_up.world({"--backend": backend})
    choice = Choice(policy or (), fault or (), phase or (), size, seed, world.backend)
    if list_only:
        _print(list_cases(choice, as_json=as_json))
    else:
        raise typer.Exit(rehearse_chaos(choice, reports, world, as_json=as_json))


app.command()(load)
app.command()(check)
app.command()(card)
app.command()(simulate)
app.add_typer(images_app, name="images")
app.command()(loop)
app.command()(gitops)
app.command()(predictions)
app.command()(drift_bench)
app.command()(rules)
app.command()(access)
app.command()(dashboards)
app.command()(diagnose)
app.command()(equivalence)
app.command()(compare)
app.command()(trend)
app.command()(nightly)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def test(context: typer.Context) -> None:
    """Run the tests of this clone with tox.

    Further arguments go to `tox run`, as in: rehearse test -e unit -- -k config
    """
    import os
    import shutil

    clone = Path(__file__).resolve().parent.parent
    if not (clone / "tox.ini").is_file():
        raise UsageError("test: this is not a clone of Rehearsal", hint="git clone it, and run ./rehearse test there.")
    tox = shutil.which("tox", path=str(Path(sys.executable).parent)) or shutil.which("tox")
    if tox is None:
        raise UsageError("test: tox is not installed", hint="./rehearse test installs it.")
    os.execv(tox, [tox, "run", "--root", str(clone), "-c", str(clone / "tox.ini"), *context.args])


def main(arguments: Sequence[str] | None = None) -> None:
    code = run_command(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done and said: a late Ctrl-C must not change the exit code
    sys.exit(code)


def run_command(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; an error is one line on standard error, never a traceback."""
    try:
        code: Any = app(args=arguments, prog_name="rehearse", standalone_mode=False)
    except RehearsalError as error:
        return _complain(str(error), error.exit_code)
    except typer.TyperException as error:
        return _complain(error.format_message(), 2)
    except (KeyboardInterrupt, typer.Abort):
        return _complain("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except Exception as error:  # the last resort: a defect of ours is a line and a log, not a screen of traceback
        return _complain(f"unexpected {type(error).__name__}: {error}. Traceback: {_log_traceback()}", 1)
    return code if isinstance(code, int) else 0


def _complain(message: str, code: int) -> int:
    from harness.runtime.redact import redact_text

    print(f"rehearse: {redact_text(message)}", file=sys.stderr)
    return code


def _print(text: str) -> None:
    typer.echo(text)


def _log_traceback() -> str:
    import traceback

    from harness.runtime.paths import state_home

    try:
        path = state_home() / "crash.log"
        path.write_text(traceback.format_exc(), encoding="utf-8")
    except (OSError, RehearsalError):
        traceback.print_exc()
        return "above"
    return str(path)


if __name__ == "__main__":
    main()
