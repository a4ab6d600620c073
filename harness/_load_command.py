"""What `rehearse load` does: a shape of load on a service, or the search for the highest rate that keeps its SLO."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from harness._cli_options import slo_of
from harness._cli_progress import Progress
from harness._cli_run import exit_code, verdict_lines
from harness._reproduce import longest, of_settings
from harness._traffic import the_shape
from harness._world_options import world_options
from harness.config import load_settings
from harness.errors import ConfigError, RehearsalError, StepFailed, UsageError
from harness.lifecycle.capacity import Search
from harness.load.reach import require_reachable
from harness.load.remote import refuse_remote
from harness.load.shapes import Shape, Steady
from harness.load.spec import check, check_shape
from harness.load.trace import Replay
from harness.offering import Elsewhere, Manner, Offering, OwnService, Target, serve, target_of
from harness.runtime.interrupts import sigterm_interrupts
from harness.runtime.paths import new_run_folder, runs_home
from harness.runtime.space import require

if TYPE_CHECKING:
    from harness.config import Settings
    from harness.report.record import LoadRecord, RunRecord
    from harness.run import Run

__all__ = ["Choice", "longest", "manner", "offer", "shape_of", "target"]

DEFAULT_RPS, DEFAULT_S = 50.0, 30.0


@dataclass(frozen=True)
class Choice:
    """What was asked for. `search`: instead of the shape, a capacity search from, to, how near, how sure, how long."""

    shape: Shape
    manner: Manner
    max_s: float
    search: tuple[float, ...] | None = None
    target: Target | None = None

    def searched(self) -> Search | None:
        """The search, with the SLO of the manner; ConfigError for one that makes no sense."""
        return None if self.search is None else Search(self.manner.slo, *self.search)


def manner(
    slo: str | None,
    arrivals: str,
    seed: int,
    users: int,
    processes: int,
    protocol: str,
    payload: Path | None,
    workers: int,
) -> Manner:
    """How requests are made, from the options; ConfigError for one that makes no sense."""
    if protocol not in ("v1", "v2"):
        raise ConfigError(f"load.protocol: expected v1 or v2, got {protocol!r}")
    check(arrivals=arrivals, users=users, processes=processes, workers=workers)
    if payload is not None and not payload.is_file():
        raise ConfigError(f"load.payload: {payload}: no such file; it holds one request body a line")
    return Manner(slo_of(slo), arrivals, seed, users, processes, protocol, payload, workers)  # type: ignore[arg-type]


def offer(choice: Choice, config: Path | None, world: Mapping[str, Any], reports: Path | None, *, as_json: bool) -> int:
    """Offer what was chosen; returns 0 if the SLO was not broken, 1 if it was, 130 if interrupted."""
    check(max_s=choice.max_s)
    check_shape(choice.shape, choice.manner.arrivals, choice.max_s)
    choice.searched()
    settings = load_settings(config, {**world, "--reports": str(reports) if reports else None})
    if choice.manner.workers and settings.run.backend in ("embedded", "containers"):
        raise UsageError(
            f"load: --workers are Pods, and the {settings.run.backend} world has none",
            hint="--processes N uses this machine's cores; or --backend kind",
        )
    with sigterm_interrupts():
        return _offer(choice, settings, sys.stderr if as_json else sys.stdout, as_json=as_json)


def target(run: str | None, host: str | None, service_host: str, model: str, *, allow_remote: bool) -> Target | None:
    """Where to, if not to a platform of its own; told at once if nothing answers there."""
    if run is not None and host is not None:
        raise UsageError("load: expected --run or --host, not both")
    if run is not None:
        from harness._cli_up import find_running

        return target_of(find_running("load", None if run == "latest" else run))
    if host is None:
        return None
    refuse_remote(host, allowed=allow_remote)
    require_reachable(host)
    return Target(host, service_host, model)


def shape_of(rps: float | None, seconds: float | None, shape: str | None, trace: str | None, speed: float) -> Shape:
    if seconds is not None and not seconds > 0:
        raise UsageError(f"load: --for: expected seconds above 0, got {seconds:g}")
    if shape is None and trace is None:
        return Steady(DEFAULT_RPS if rps is None else rps, DEFAULT_S if seconds is None else seconds)
    found = the_shape(rps, shape, trace)
    if speed != 1.0:
        if trace is None:
            raise UsageError("load: --speed is for --trace; a shape says its speed itself")
        found = Replay(trace, speed)
    if isinstance(found, Steady) and not found.hold_s:
        return replace(found, hold_s=DEFAULT_S if seconds is None else seconds)
    if seconds is not None:
        raise UsageError(f"load: --for is for one rate; a {found.kind} says itself how long it lasts")
    return found


def _offer(choice: Choice, settings: Settings, screen: TextIO, *, as_json: bool) -> int:
    world_options(settings)  # a mistake in the flags is told before a run folder is made
    home = runs_home(settings.run.reports)
    require(home)
    folder = new_run_folder(home, "load")
    try:
        with Progress(screen) as progress:
            record = _recorded(choice, settings, folder, progress)
    except KeyboardInterrupt:
        print(f"rehearse: interrupted; what was done is in {folder}", file=sys.stderr)
        return 130
    print(*_lines(record), verdict_lines(record, folder), sep="\n", file=screen)
    if as_json:
        from harness.report.store import record_text

        print(record_text(record))
    return exit_code(record)


def _recorded(choice: Choice, settings: Settings, folder: Path, progress: Progress) -> RunRecord:
    """The run's record; a mistake in the input is raised once it is written, every other error is its outcome."""
    from harness.run import Run

    where = _where(choice, settings)
    title = f"Capacity of {where}" if choice.search else f"Load on {where}: {choice.shape.words()}"
    backend = "elsewhere" if choice.target else settings.run.backend
    run = Run(folder, title=title, backend=backend, listener=progress)
    try:
        with run, _offering(choice, settings, run) as offering:
            _play(choice, offering, run)
    except UsageError:
        raise
    except RehearsalError:
        pass
    return run.record


def _where(choice: Choice, settings: Settings) -> str:
    return choice.target.host or choice.target.url if choice.target else settings.run.name


@contextmanager
def _offering(choice: Choice, settings: Settings, run: Run) -> Iterator[Offering]:
    if choice.target is not None:
        from harness.runtime.supervisor import Supervisor

        with Supervisor(run.folder, run.events) as supervisor:
            yield Elsewhere(choice.target, run, supervisor)
        return
    from harness.backends.session import open_backend
    from harness.plan import Plan
    from harness.platform import Platform

    plan = Plan.of(settings)
    with (
        open_backend(world_options(settings), run.folder, run.events) as backend,
        Platform(backend, run, seed=choice.manner.seed, runner=plan.runner) as platform,
    ):
        run.remade = of_settings(settings)
        service, _ = serve(platform, plan)
        yield OwnService(platform, service)


def _play(choice: Choice, offering: Offering, run: Run) -> None:
    if (search := choice.searched()) is not None:
        from harness._capacity import find_capacity

        found = find_capacity(offering, run, search, choice.manner)
        run.record.decided_by = found.reason
        if found.capacity_rps is None:
            raise StepFailed(f"no rate was confirmed: {found.reason}")
        return
    with run.step("load", f"Offer {choice.shape.words()}") as step:
        with offering.load(choice.shape, choice.manner, choice.max_s) as traffic:
            traffic.wait()
        told = run.record.loads[-1]
        step.detail = run.record.decided_by = _verdict(told)
        if broken(told):
            raise StepFailed(_verdict(told))


def broken(load: LoadRecord) -> bool:
    """Whether the clients saw the SLO broken, beyond chance."""
    verdicts = (load.errors_verdict, load.latency_verdict)
    return any(verdict is not None and verdict.decision == "roll back" for verdict in verdicts)


def _verdict(load: LoadRecord) -> str:
    told = [each for each in (load.errors_verdict, load.latency_verdict) if each is not None]
    shares = ", ".join(f"{each.guard} {each.observed:.2%} of at most {each.bound:.2%}" for each in told)
    if load.distrust:
        shares += f"; latencies are not judged: {load.distrust}"
    if broken(load):
        return f"the SLO is broken: {shares}"
    kept = all(each.decision == "promote" for each in told) and not load.distrust
    return f"{'the SLO is kept' if kept else 'not enough evidence that the SLO is kept'}: {shares}"


def _lines(record: RunRecord) -> Iterator[str]:
    for load in record.loads:
        if load.overall is not None:
            seen = load.overall
            yield (
                f"{load.name}: {load.sent} requests, {load.achieved_rps:.4g}/s, {seen.failed} failed; "
                f"p50 {seen.p50_ms:.3g}, p99 {seen.p99_ms:.3g}, p99.9 {seen.p999_ms:.3g}, max {seen.max_ms:.3g} ms"
            )
            yield f"  {_counts(load.classes)}"
    for search in record.capacity:
        for step in search.steps:
            yield (
                f"{step.rate:>9g}/s  {step.purpose:<8} {step.decision:<9} {step.requests:>7} requests  "
                f"{step.failed} failed  {step.slow} slow  p99 {step.p99_ms:.3g} ms"
            )


def _counts(classes: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {number}" for name, number in classes.items())
