"""Requests of many simulated rollouts at once: growing counts, drawn for each stretch of time between two looks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from harness.simulate.world import BURST_SHARE, World

CANARY, BASELINE = 0, 1
FAILED, SLOW, GOOD = 0, 1, 2


class Traffic:
    """The totals of `trials` rollouts in one world, of shape (trials, canary or baseline, failed or slow or good).

    Thinned Poisson arrivals are independent Poisson counts, so a stretch of time is one draw for each total, and says
    the same as one draw for each request.
    """

    def __init__(self, world: World, trials: int, rng: np.random.Generator) -> None:
        self.world, self.rng = world, rng
        self.totals: npt.NDArray[np.int64] = np.zeros((trials, 2, 3), np.int64)
        self.bursting = rng.random((trials, 2)) < BURST_SHARE if world.burst_s else None

    @property
    def requests(self) -> npt.NDArray[np.int64]:
        """Requests of (canary, baseline) in each trial."""
        return np.asarray(self.totals.sum(-1))

    def keep(self, trials: npt.NDArray[np.bool_]) -> None:
        """Go on with these trials only."""
        self.totals = self.totals[trials]
        if self.bursting is not None:
            self.bursting = self.bursting[trials]

    def advance(self, now: float, seconds: float, percent: npt.NDArray[np.int64], mirrored: float = 0.0) -> None:
        """Draw the requests of the next `seconds` from `now` on, while the canary has these weights in percent.

        A share `mirrored` of the baseline's requests is copied to the canary.
        """
        rates = self.world.rps_at(now + seconds / 2) * seconds * self._shares(now + seconds / 2, percent, mirrored)
        self.totals += self.rng.poisson(rates)

    def _shares(self, now: float, percent: npt.NDArray[np.int64], mirrored: float) -> npt.NDArray[np.float64]:
        canary, baseline = self.world.canary, self.world.baseline
        share = percent / 100
        given = np.stack([np.maximum(share, mirrored), 1 - share], -1)
        errors = np.empty(given.shape)
        errors[:, CANARY] = np.where(percent >= canary.breaks_at, canary.then_errors, canary.errors)
        errors[:, BASELINE] = baseline.errors
        errors = self._in_bursts(errors)
        slow = np.array([self.world.canary_slow_at(now), baseline.slow])
        slow = np.broadcast_to(np.minimum(slow, 1 - errors), errors.shape)
        return np.asarray(given[..., None] * np.stack([errors, slow, 1 - errors - slow], -1))

    def _in_bursts(self, errors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return errors if self.bursting is None else np.where(self.bursting, errors / BURST_SHARE, 0.0)

    def turn(self, seconds: float) -> None:
        """Let bursts begin and end, as they do within so many seconds."""
        if self.bursting is None:
            return
        ends = self.world.burst_ends(seconds)
        begins = ends * BURST_SHARE / (1 - BURST_SHARE)
        change = self.rng.random(self.bursting.shape) < np.where(self.bursting, ends, begins)
        self.bursting ^= change
