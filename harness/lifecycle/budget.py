"""Whether a rollout's time and traffic are enough to show that its SLO is kept."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from harness.lifecycle.evidence import requests_needed
from harness.lifecycle.guards import STANDARD, Standard
from harness.lifecycle.slo import SLO


def budget_problem(
    steps: Sequence[int], slo: SLO, max_step_s: float, rps: float, *, standard: Standard = STANDARD
) -> str:
    """One line on the first step that even a flawless canary cannot end with a verdict; "" if there is none.

    `steps` are percentages of `rps` requests a second. A step begins with the requests that opened it, the last one
    with none.
    """
    shown = 0
    for at, percent in enumerate(steps):
        last = at + 1 == len(steps)
        exposure = 1.0 if last else steps[at + 1] / 100
        bounds = {"errors": slo.errors / exposure, "slow": slo.slow / exposure}
        needed = {name: int(requests_needed(bound, standard.beta)) for name, bound in bounds.items()}
        name = max(needed, key=lambda name: needed[name])
        missing = needed[name] - (0 if last else shown)
        had = rps * max_step_s * percent / 100
        if had < missing:
            return (
                f"the step of {percent} % can have no verdict: showing that {name} are below {bounds[name]:.2%} takes "
                f"{missing} canary requests, {max_step_s:g} s at {rps:g} requests/s have {int(had)}; "
                f"{ceil(missing * 100 / percent / rps)} s or {ceil(missing * 100 / percent / max_step_s)} requests/s "
                "would do"
            )
        shown = max(shown, needed[name])
    return ""
