"""Whether a rollout's time and traffic are enough to show that its SLO is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

from harness.lifecycle.evidence import requests_needed
from harness.lifecycle.guards import STANDARD, Standard
from harness.lifecycle.slo import SLO
from harness.lifecycle.split import split_requests_needed


def budget_problem(
    steps: Sequence[int],
    slo: SLO,
    max_step_s: float,
    rps: float,
    *,
    standard: Standard = STANDARD,
    prove_split: bool = False,
    others: Mapping[str, float] | None = None,
) -> str:
    """One line on the first step that even a flawless canary cannot end with a verdict; "" if there is none.

    `steps` are percentages of `rps` requests a second. A step begins with the requests that opened it, the last one
    with none. With `prove_split` each step below 100 % also has to show that its split is not off by 5 points. `others`
    are bounds of other proportions that the last step has to show.
    """
    shown = 0
    for at, percent in enumerate(steps):
        last = at + 1 == len(steps)
        exposure = 1.0 if last else steps[at + 1] / 100
        bounds = {"errors": slo.errors / exposure, "slow": slo.slow / exposure}
        if last and others:
            bounds |= others
        needed = {name: int(requests_needed(bound, standard.beta)) for name, bound in bounds.items()}
        name = max(needed, key=lambda name: needed[name])
        missing = needed[name] - (0 if last else shown)
        what = f"showing that {name} are below {bounds[name]:.2%} takes {missing} canary requests"
        if problem := _too_few(percent, what, missing, percent / 100, max_step_s, rps):
            return problem
        if prove_split and percent < 100:
            given = split_requests_needed(percent / 100)
            what = f"showing that the split is not off by 5 points takes {given} requests"
            if problem := _too_few(percent, what, given, 1.0, max_step_s, rps):
                return problem
        shown = max(shown, needed[name])
    return ""


def _too_few(percent: int, what: str, requests: int, share: float, max_step_s: float, rps: float) -> str:
    had = share * rps * max_step_s
    if had >= requests:
        return ""
    enough = f"{ceil(requests / share / rps)} s or {ceil(requests / share / max_step_s)} requests/s would do"
    have = f"{max_step_s:g} s at {rps:g} requests/s have {int(had)}"
    return f"the step of {percent} % can have no verdict: {what}, {have}; {enough}"
