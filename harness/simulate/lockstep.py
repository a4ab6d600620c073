"""Many rollouts of a canary policy side by side: arrays of evidence at every look, `rollout.step` where it decides.

A look at which no verdict is due, no limit is reached and no answer of a person is awaited leaves a rollout as it is,
so there the arrays say enough. At all others the state machine is given the counts, as the driver gives them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log

import numpy as np
import numpy.typing as npt

from harness.lifecycle.evidence import Arm, log_ceiling
from harness.lifecycle.guards import GUARDS, mean_over, weigh
from harness.lifecycle.rollout import Approval, Canary, Observation, Phase, SetWeight, State, expired, step
from harness.lifecycle.split import SPLIT_P_VALUE, split_requests_needed
from harness.lifecycle.verdict import Counts
from harness.simulate.near import near_promotion, near_roll_back
from harness.simulate.results import Results
from harness.simulate.traffic import BASELINE, CANARY, FAILED, SLOW, Traffic
from harness.simulate.world import World


def can_lockstep(policy: object) -> bool:
    """Whether the arrays hold all that this policy decides by."""
    return isinstance(policy, Canary) and policy.prediction_shift is None


def run_lockstep(policy: Canary, world: World, trials: int, rng: np.random.Generator, every_s: float) -> Results:
    """Run the trials to their ends, looking at all of them every `every_s` seconds."""
    lockstep = Lockstep(policy, world, trials, rng)
    now = 0.0
    lockstep.begin()
    while len(lockstep.trial):
        lockstep.look(now, every_s)
        now += every_s
    return lockstep.results


@dataclass
class Lockstep:
    """The trials that go on, as arrays with one entry for each, and their states."""

    policy: Canary
    world: World
    trials: int
    rng: np.random.Generator
    states: list[State] = field(init=False)
    results: Results = field(init=False)

    def __post_init__(self) -> None:
        number, steps = self.trials, len(self.policy.steps)
        self.traffic = Traffic(self.world, number, self.rng)
        self.results = Results.empty(number)
        self.trial = np.arange(number)  # those that go on
        self.index = np.zeros(number, np.int64)
        self.percent = np.zeros(number, np.int64)
        self.began = np.zeros(number)  # when the step opened
        self.resting_until = np.zeros(number)  # of a pause
        self.watching = np.zeros(number, bool)
        self.opened = np.zeros((number, 2, 3), np.int64)  # totals when the step opened
        self.steps = np.zeros((number, 2, 3, steps), np.int64)  # counts in each step
        self.exposures = np.array([*self.policy.steps[1:], 100]) / 100
        self.moved_at = np.zeros(number)  # when the canary's requests last grew
        self.moved = np.zeros((number, 2, 3), np.int64)  # the totals then
        self.told_at = np.zeros(number)  # when the state machine last saw the counts

    def begin(self) -> None:
        """Start all canaries."""
        state, actions = step(State(self.policy, 0.0), Observation(), 0.0)
        assert actions == (SetWeight(self.policy.steps[0]),)
        self.states = [state] * self.trials
        self.percent[:] = self.policy.steps[0]

    def look(self, now: float, every_s: float) -> None:
        """Look at all rollouts, let those decide that can, and draw what comes until the next look."""
        grown = self.traffic.totals[:, CANARY].sum(-1) > self.moved[:, CANARY].sum(-1)
        ended = np.zeros(len(self.trial), bool)
        for at in np.flatnonzero(self.due(now)).tolist():
            ended[at] = self._settle(at, now, grown=bool(grown[at]))
        self.moved_at[grown] = now
        self.moved[grown] = self.traffic.totals[grown]
        if ended.any():
            self._drop(ended)
        self.traffic.advance(now, every_s, self.percent)
        self.traffic.turn(every_s)

    def due(self, now: float) -> npt.NDArray[np.bool_]:
        """Where the state machine may decide something at this look."""
        policy, lasted = self.policy, now - self.began
        requests = self.traffic.requests - self.opened.sum(-1)
        due: npt.NDArray[np.bool_] = ~self.watching | (now >= policy.at_most_s)
        due |= (lasted >= policy.max_step_s) & (now >= self.resting_until)
        due |= self._wrong_split(requests)
        ready = (requests[:, CANARY] >= policy.min_step_requests) & (lasted >= policy.min_step_s)
        ready &= now >= self.resting_until
        if policy.prove_split:
            needed = [split_requests_needed(step / 100) if step < 100 else 0 for step in policy.steps]
            ready &= requests.sum(-1) >= np.array(needed)[self.index]
        self.count()
        rows = np.flatnonzero(~due & self._near(ready))
        if len(rows):
            roll_back, promote = self._verdicts(rows)
            due[rows] = roll_back | (promote & ready[rows])
        return due

    def _wrong_split(self, requests: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        weight = np.minimum(self.percent, 99) / 100
        ceiling = log_ceiling(requests.sum(-1), requests[:, CANARY], weight)
        return np.asarray((self.percent < 100) & (ceiling >= -log(SPLIT_P_VALUE)))

    def count(self) -> None:
        """Bring the counts of the open steps up to date."""
        np.put_along_axis(
            self.steps, self.index[:, None, None, None], (self.traffic.totals - self.opened)[..., None], axis=-1
        )

    def _arms(self, rows: npt.NDArray[np.int64] | slice) -> tuple[Arm, Arm]:
        """The requests and the bad ones of (canary, baseline), of shape (rows, errors or slow, steps begun)."""
        begun = int(self.index.max()) + 1
        counts = self.steps[rows, :, :, :begun]
        requests = np.repeat(counts.sum(2, keepdims=True), 2, axis=2)
        bad = counts[:, :, (FAILED, SLOW)]
        return (requests[:, CANARY], bad[:, CANARY]), (requests[:, BASELINE], bad[:, BASELINE])

    def _near(self, ready: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        slo, standard = self.policy.slo, self.policy.standard
        canary, baseline = self._arms(slice(None))
        near = near_roll_back(canary, baseline, slo, standard)
        bound = np.array([slo.errors, slo.slow]) / self.exposures[self.index][:, None]
        requests, bad = (np.sum(counts, axis=-1) for counts in canary)
        return near | (ready & near_promotion(requests, bad, bound, standard))

    def _verdicts(self, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Where the evidence rolls back, and where it promotes."""
        policy, standard, windows = self.policy, self.policy.standard, len(self.policy.steps)
        canary, baseline = self._arms(rows)
        found = weigh(canary, baseline, policy.slo, self.exposures[self.index[rows]][:, None, None], standard)
        against = np.stack([mean_over(found.broken, windows), mean_over(found.worse, windows)], -1) / GUARDS
        kept = found.kept[..., 0]
        last = self.index[rows] == windows - 1
        kept = np.where(last[:, None], np.minimum(kept, found.kept[..., -1]), kept)
        roll_back, promote = (against >= 1 / standard.alpha).any((-1, -2)), (kept >= 1 / standard.beta).all(-1)
        return np.asarray(roll_back), np.asarray(promote)

    def _settle(self, at: int, now: float, *, grown: bool) -> bool:
        """Step one rollout as the driver does, until its phase stays; returns whether it is over."""
        state = self.states[at]
        if self.watching[at] and not grown and self.told_at[at] < self.moved_at[at]:
            # A canary without new requests may not be promoted on old ones: the state must know when they came.
            before = float(self.moved_at[at])
            state, _ = step(state, Observation(*_seen(self.moved[at]), at=before), before)
        seen = _seen(self.traffic.totals[at])
        while True:
            phase = state.phase
            approval = Approval(state.percent, True, "simulation") if phase is Phase.GATED else None
            observation = Observation(*seen, at=now, approval=approval)
            late = now >= self.policy.at_most_s and phase not in (Phase.PROMOTING, Phase.ROLLING_BACK)
            state, actions = expired(state, now) if late else step(state, observation, now)
            for action in actions:
                if isinstance(action, SetWeight):
                    self.percent[at] = action.percent
            if state.phase is Phase.WATCHING and phase is Phase.SHIFTING:
                self._open(at, state, now)
            if state.phase in (phase, Phase.WATCHING, Phase.DONE):
                break
        self.states[at], self.told_at[at] = state, now
        self.watching[at] = state.phase in (Phase.WATCHING, Phase.PAUSED)
        self.resting_until[at] = state.phase_at + self.policy.pause_s if state.phase is Phase.PAUSED else 0.0
        if state.phase is not Phase.DONE or state.outcome is None:
            return False
        self.results.close(int(self.trial[at]), state.outcome, now, self.traffic.totals[at])
        return True

    def _open(self, at: int, state: State, now: float) -> None:
        self.index[at], self.began[at], self.opened[at] = state.index, now, self.traffic.totals[at]

    def _drop(self, ended: npt.NDArray[np.bool_]) -> None:
        """Go on without those that ended."""
        going = ~ended
        self.traffic.keep(going)
        self.states = [state for state, goes in zip(self.states, going, strict=True) if goes]
        for name in _PER_TRIAL:
            setattr(self, name, getattr(self, name)[going])


_PER_TRIAL = (
    "trial", "index", "percent", "began", "resting_until", "watching", "opened", "steps",
    "moved_at", "moved", "told_at",
)  # fmt: skip


def _seen(totals: npt.NDArray[np.int64]) -> tuple[Counts, Counts]:
    """The counts of (canary, baseline) as the gateway gives them; every request is timed at once."""
    canary, baseline = (Counts(sum(row), row[FAILED], row[SLOW], sum(row), sum(row)) for row in totals.tolist())
    return canary, baseline
