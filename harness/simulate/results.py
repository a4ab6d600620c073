"""How simulated rollouts ended."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.lifecycle.rollout import Outcome
from harness.simulate.traffic import CANARY, FAILED, SLOW

OUTCOMES = tuple(Outcome)


@dataclass(frozen=True)
class Results:
    """How trials ended; arrays with one entry for each trial."""

    outcome: npt.NDArray[np.int64]  # index in OUTCOMES
    seconds: npt.NDArray[np.float64]
    canary: npt.NDArray[np.int64]  # requests of the canary
    harmed: npt.NDArray[np.int64]  # those of them that failed or were slow
    requests: npt.NDArray[np.int64]  # of both revisions

    @classmethod
    def empty(cls, trials: int) -> Results:
        """Results to be filled."""
        counts = (np.zeros(trials, np.int64) for _ in range(3))
        return cls(np.full(trials, -1), np.zeros(trials), *counts)

    @classmethod
    def joined(cls, parts: list[Results]) -> Results:
        """The results of all parts, in their order."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))

    def close(
        self, trial: npt.NDArray[np.int64] | int, outcome: Outcome, now: float, totals: npt.NDArray[np.int64]
    ) -> None:
        """Write down that trials ended now, with these totals."""
        self.outcome[trial] = OUTCOMES.index(outcome)
        self.seconds[trial] = now
        self.canary[trial] = totals[..., CANARY, :].sum(-1)
        self.harmed[trial] = totals[..., CANARY, (FAILED, SLOW)].sum(-1)
        self.requests[trial] = totals.sum((-1, -2))
