"""The tables of docs/verdicts.md, each by one command: what a split's test needs, and how often verdicts are right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from harness.lifecycle.rollout import Outcome, Policy
from harness.lifecycle.split import POWER, SPLIT_P_VALUE, split_power, split_requests_needed
from harness.report.record import RolloutRecord
from harness.simulate.cases import Case
from harness.simulate.trials import RULES, Rate, Summary
from harness.simulate.world import Behaviour, World

SHARES = {
    "promotion": (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0),
    "rollback": (1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0),
}
KINDS = ("split", "promotion", "rollback", "assumptions")


@dataclass(frozen=True)
class Table:
    """Columns and rows of text."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]
        lines = [self.columns, ["-" * width for width in widths], *self.rows]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def split_table() -> Table:
    """What a split that is off by 5 points needs to be caught; computed, nothing is drawn."""
    rows = []
    for percent in (5, 10, 20, 25, 50, 75, 90):
        needed = split_requests_needed(percent / 100)
        power, false = split_power(needed, percent / 100, 0.05), split_power(needed, percent / 100, 0.0)
        rows.append((f"{percent} %", f"{needed}", f"{power:.4%}", f"{false:.1e}"))
    caught, rejected = f"±5 points caught (>= {POWER:.1%})", f"right split rejected (<= {SPLIT_P_VALUE:.0e})"
    return Table(("weight", "requests", caught, rejected), rows)


def power_cases(kind: str, policy: Policy, world: World) -> list[Case]:
    """Canaries whose errors are shares of the bound, beside a baseline at a tenth of it."""
    bound, slow = policy.slo.errors, policy.slo.slow / 10
    beside = replace(world, baseline=Behaviour(bound / 10, slow))
    return [
        Case(f"{share:g} x the bound", replace(beside, canary=Behaviour(share * bound, slow)), frozenset())
        for share in SHARES[kind]
        if share * bound + slow <= 1
    ]


def assumption_cases(policy: Policy, world: World) -> list[Case]:
    """A canary at the bound, like its baseline, where failures come in bursts, traffic thins out, or it warms up."""
    bound, slow = policy.slo.errors, policy.slo.slow / 10
    edge = replace(world, canary=Behaviour(bound, slow), baseline=Behaviour(bound, slow))
    good = replace(world, canary=Behaviour(bound / 10, slow), baseline=Behaviour(bound / 10, slow))
    varied: dict[str, Callable[[World], World]] = {
        "independent requests": lambda there: there,
        "bursts of 1 s": lambda there: replace(there, burst_s=1.0),
        "bursts of 10 s": lambda there: replace(there, burst_s=10.0),
        "bursts of 60 s": lambda there: replace(there, burst_s=60.0),
        "traffic thins out in 10 min": lambda there: replace(there, night_s=600.0),
        "warm-up of 30 s, half is slow": lambda there: replace(there, warm_up_s=30.0),
    }
    found = []
    for name, change in varied.items():
        keeps = frozenset() if change(good).warm_up_s else frozenset((Outcome.ROLLED_BACK,))  # a cold canary is slow
        found.append(Case(f"at the bound, {name}", change(edge), keeps | {Outcome.PROMOTED}))
        found.append(Case(f"good, {name}", change(good), keeps))
    return found


def trials_table(summaries: Sequence[Summary]) -> Table:
    """How every rule judged every case; what says nothing is left out."""
    columns = (
        "canary", "rule", "promoted", "rolled back", "no verdict", "wrong promotions", "wrong roll backs",
        "canary requests", "harmed", "seconds",
    )  # fmt: skip
    rows = []
    for found in summaries:
        good = found.outcomes[Outcome.PROMOTED].share + found.outcomes[Outcome.CLEARED].share
        rows.append(
            (
                found.case if found.rule == RULES[0] else "",
                found.rule,
                f"{good:.2%}",
                f"{found.outcomes[Outcome.ROLLED_BACK].share:.2%}",
                f"{found.outcomes[Outcome.NOT_ENOUGH_EVIDENCE].share:.2%}",
                _wrong(found.wrong_rates.get(Outcome.PROMOTED)),
                _wrong(found.wrong_rates.get(Outcome.ROLLED_BACK)),
                f"{found.canary_requests:.0f}",
                "-" if found.harmed is None else f"{found.harmed:.0f}",
                f"{found.seconds:.0f}",
            )
        )
    one_rule = len({found.rule for found in summaries}) == 1
    silent = {at for at in range(len(columns)) if not any(row[at] for row in rows)} | ({1} if one_rule else set())
    kept = [at for at in range(len(columns)) if at not in silent]
    return Table([columns[at] for at in kept], [[row[at] for at in kept] for row in rows])


def run_table(record: RolloutRecord) -> Table:
    """The steps of one rollout."""
    rows = []
    for step in record.steps:
        canary = step.counts[1]
        counts = (canary.requests, canary.failed, canary.slow)
        rows.append((f"{step.percent} %", f"{step.duration_s:g}", *map(str, counts), step.decision))
    return Table(("weight", "seconds", "canary requests", "failed", "slow", "decision"), rows)


def _wrong(rate: Rate | None) -> str:
    if rate is None:
        return ""
    low, high = rate.interval
    return f"{rate.count} ({low:.3%} .. {high:.3%})"
