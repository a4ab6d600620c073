"""`rehearse simulate`: a policy on a virtual clock against simulated services, once or in many trials."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness._cli_options import Json
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.lifecycle.rollout import Policy
    from harness.simulate import Behaviour, Case, World

Share = float | None
MOST_TRIALS = 10_000_000
TABLE_TRIALS = 2000


def _option(name: str, text: str) -> typer.models.OptionInfo:
    found: typer.models.OptionInfo = typer.Option(name, metavar="NUMBER", help=text, show_default=False)
    return found


def simulate(
    policy: Annotated[
        Path | None, typer.Option("--policy", metavar="FILE", help="A policy, as in manifests/policies.")
    ] = None,
    rps: Annotated[float, typer.Option("--rps", metavar="NUMBER", help="Requests a second.")] = 50.0,
    canary_errors: Annotated[Share, _option("--canary-errors", "Share of the canary's requests that fails.")] = None,
    canary_slow: Annotated[Share, _option("--canary-slow", "Share of the canary's requests that is slow.")] = None,
    canary_latency: Annotated[
        str | None,
        typer.Option(
            "--canary-latency",
            metavar="DISTRIBUTION",
            help="Instead of --canary-slow: lognormal:MEDIAN_MS:SIGMA or exponential:MEAN_MS.",
        ),
    ] = None,
    baseline_errors: Annotated[Share, _option("--baseline-errors", "Share of the baseline's that fails.")] = None,
    baseline_slow: Annotated[Share, _option("--baseline-slow", "Share of the baseline's that is slow.")] = None,
    warm_up: Annotated[
        float, typer.Option("--warm-up", metavar="SECONDS", help="Half of the canary's answers are slow at first.")
    ] = 0.0,
    autocorrelation: Annotated[
        float, typer.Option("--autocorrelation", metavar="SECONDS", help="Failures come in bursts of that length.")
    ] = 0.0,
    night: Annotated[
        float, typer.Option("--night", metavar="SECONDS", help="The traffic thins out to a tenth within that time.")
    ] = 0.0,
    every: Annotated[float, typer.Option("--every", metavar="SECONDS", help="Time between two looks.")] = 1.0,
    trials: Annotated[
        int | None, typer.Option("--trials", metavar="NUMBER", help="Trials; without, one run in detail.")
    ] = None,
    table: Annotated[
        str | None, typer.Option("--table", metavar="NAME", help="split, promotion, rollback or assumptions.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="NUMBER", help="The same seed, the same numbers.")] = 1,
    as_json: Json = False,
) -> None:
    """Simulate a rollout on a virtual clock.

    With --trials the wrong verdicts are counted, beside two naive rules: for canaries that are hard to judge, or for
    the one that is described. --table makes a table of docs/verdicts.md.
    """
    from harness.simulate import World
    from harness.simulate.world import slow_share

    chosen = _policy(policy)
    if canary_latency is not None:
        if canary_slow is not None:
            raise UsageError("simulate: --canary-slow and --canary-latency say the same, give one of them")
        canary_slow = slow_share(canary_latency, chosen.slo.slower_than_ms)
    shares = {
        "--canary-errors": canary_errors,
        "--canary-slow": canary_slow,
        "--baseline-errors": baseline_errors,
        "--baseline-slow": baseline_slow,
    }
    _check(shares, trials, every, seed)
    canary, baseline = _behaviour(canary_errors, canary_slow), _behaviour(baseline_errors, baseline_slow)
    world = World(canary, baseline, rps, warm_up, burst_s=autocorrelation, night_s=night)
    if table == "split":
        typer.echo(_split(as_json=as_json))
        return
    _require_testable(chosen, rps)
    if table is None and trials is None:
        typer.echo(_once(chosen, world, seed, every, as_json=as_json))
        return
    described = any(share is not None for share in shares.values())
    cases = _cases(chosen, world, table, described=described)
    typer.echo(_trials(chosen, cases, trials or TABLE_TRIALS, seed, every, beside=table is None, as_json=as_json))


def _check(shares: dict[str, float | None], trials: int | None, every: float, seed: int) -> None:
    for flag, share in shares.items():
        if share is not None and not 0 <= share <= 1:
            raise UsageError(f"simulate: {flag}: expected a share from 0 to 1, got {share:g}")
    if trials is not None and not 1 <= trials <= MOST_TRIALS:
        raise UsageError(f"simulate: --trials: expected a whole number from 1 to {MOST_TRIALS}, got {trials}")
    if not 0.01 <= every <= 60:
        raise UsageError(f"simulate: --every: expected seconds from 0.01 to 60, got {every:g}")
    if seed < 0:
        raise UsageError(f"simulate: --seed: expected a whole number of at least 0, got {seed}")


def _policy(file: Path | None) -> Policy:
    from harness.lifecycle.rollout import Canary, load_policy

    return Canary(min_step_s=60, max_step_s=300) if file is None else load_policy(file)


def _behaviour(errors: float | None, slow: float | None) -> Behaviour:
    from harness.simulate import Behaviour

    usual = Behaviour()
    return Behaviour(usual.errors if errors is None else errors, usual.slow if slow is None else slow)


def _require_testable(policy: Policy, rps: float) -> None:
    from harness.lifecycle.rollout import untestable

    if problem := untestable(policy, rps):
        raise UsageError(f"simulate: {problem}")


def _cases(policy: Policy, world: World, table: str | None, *, described: bool) -> Sequence[Case]:
    from harness.lifecycle.rollout import Canary
    from harness.simulate import described_case, hard_cases
    from harness.simulate.tables import KINDS, assumption_cases, power_cases

    if table is not None and table not in KINDS:
        raise UsageError(f"simulate: --table: expected {', '.join(KINDS)}, got {table!r}")
    if table is not None and not isinstance(policy, Canary):
        raise UsageError(f"simulate: --table {table} is about canaries, {policy.kind!r} is none")
    if table is not None:
        return assumption_cases(policy, world) if table == "assumptions" else power_cases(table, policy, world)
    return [described_case(policy, world)] if described else hard_cases(policy, world)


def _once(policy: Policy, world: World, seed: int, every: float, *, as_json: bool) -> str:
    from harness.simulate import run_once
    from harness.simulate.tables import run_table

    began = time.perf_counter()
    run = run_once(policy, world, seed, every_s=every)
    took = time.perf_counter() - began
    record = run.record
    if as_json:
        counts = {"canary_requests": run.canary, "harmed": run.harmed, "requests": run.requests}
        return json.dumps({"seed": seed, **counts, "rollout": record.model_dump(mode="json")})
    return "\n".join(
        (
            f"{record.policy} at {world.rps:g} requests/s, seed {seed}",
            "",
            str(run_table(record)),
            "",
            f"{record.outcome} after {record.duration_s:g} s: {record.reason}",
            f"{run.canary} of {run.requests} requests met the canary, {run.harmed} of them failed or were slow",
            f"simulated in {took:.2f} s",
        )
    )


def _trials(
    policy: Policy, cases: Sequence[Case], trials: int, seed: int, every: float, *, beside: bool, as_json: bool
) -> str:
    from harness.simulate import simulate_trials
    from harness.simulate.tables import trials_table
    from harness.simulate.trials import RULES

    began, rules = time.perf_counter(), RULES if beside else RULES[:1]
    summaries = simulate_trials(policy, cases, trials, seed, every_s=every, rules=rules, progress=_progress)
    took = time.perf_counter() - began
    if as_json:
        return json.dumps(
            {"policy": policy.words, "seed": seed, "trials": trials, "cases": [found.as_json() for found in summaries]}
        )
    return "\n".join(
        (
            f"{policy.words}: {trials} trials of each, seed {seed}; wrong verdicts with their exact 95 % intervals",
            "",
            str(trials_table(summaries)),
            "",
            "medians; harmed: requests of a canary that failed or were slow until its roll back",
            f"simulated in {took:.1f} s",
        )
    )


def _split(*, as_json: bool) -> str:
    from harness.simulate.tables import split_table

    table = split_table()
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    return json.dumps(rows) if as_json else str(table)


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        print(f"\r{done} of {total} parts", end=end, file=sys.stderr, flush=True)
