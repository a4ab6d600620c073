"""The state machine of rollouts against a simple model of the world, in random order: Hypothesis chooses what happens.

The model knows what the gateway was told last, what was counted since, and who said yes; it does not know how the
machine decides. Whatever happens, in whatever order, its invariants hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from harness.lifecycle.answers import Answers
from harness.lifecycle.rollout import (
    OPEN,
    ABTest,
    Action,
    Approval,
    BlueGreen,
    Canary,
    Observation,
    Outcome,
    Phase,
    Policy,
    Promote,
    RollBack,
    Shadow,
    State,
    expired,
    pending,
    step,
)
from harness.lifecycle.slo import SLO
from harness.lifecycle.verdict import ZERO, Counts

EASY = SLO(errors=0.3, slow=0.3)  # so few requests show that it is kept that random runs come to an end
POLICIES: tuple[Policy, ...] = (
    Canary(EASY, steps=(20, 100), max_step_s=30, min_step_s=4, min_step_requests=5),
    Canary(EASY, steps=(50, 100), max_step_s=30, min_step_requests=70, manual=(50,), approval_s=40),
    Canary(EASY, steps=(50, 100), max_step_s=30, pause_s=3, manual=(50, 100), approval_s=40),
    Canary(EASY, steps=(50, 100), max_step_s=30, prediction_shift=0.5),
    ABTest(EASY, min_s=1, max_s=30, min_effect=0.4, promote=True),
    ABTest(EASY, metric="positive", min_s=1, max_s=30, min_effect=0.4, promote=True),
    BlueGreen(EASY, warm_s=1, warm_requests=5, hold_s=1, max_hold_s=30, drain_s=1),
    BlueGreen(EASY, warm_s=0, warm_requests=0, hold_s=1, max_hold_s=30, drain_s=0),
    Shadow(EASY, min_agreement=0.5, max_s=30, promote=True),
    Shadow(EASY, min_agreement=None, max_s=30, min_requests=5),
)
REQUESTS = st.one_of(st.just(0), st.integers(0, 80))


@dataclass
class World:
    """What has really happened: counters that grow, and what the gateway was told."""

    canary: Counts = ZERO
    baseline: Counts = ZERO
    answers: Answers = field(default_factory=lambda: Answers((0.5,), (0,), (0,)))
    since_told: int = 0  # requests of the canary that were seen since the gateway was told something
    last_seen_at: float = 0.0  # when the counters of the canary were last seen to grow
    fresh: bool = False  # whether the last look was one
    told: list[Action] = field(default_factory=list)
    yes: set[int] = field(default_factory=set)  # weights that a person approved while asked
    no: set[int] = field(default_factory=set)


class RolloutMachine(RuleBasedStateMachine):
    """One rollout; `good` says whether its canary keeps the SLO, `fragile` whether the platform fails at times."""

    @initialize(
        policy=st.sampled_from(POLICIES),
        good=st.sampled_from((True, True, True, False)),
        fragile=st.sampled_from((False, False, True)),
        started_at=st.sampled_from((0.0, 12345.6)),
    )
    def begin(self, policy: Policy, good: bool, fragile: bool, started_at: float) -> None:
        self.policy, self.good, self.fragile, self.now = policy, good, fragile, started_at
        self.world = World()
        self.state = State(policy, started_at, names=("v1", "v2"))

    @rule(canary=REQUESTS, baseline=REQUESTS, seconds=st.sampled_from((0.1, 0.6, 1.0, 3.0, 6.0)))
    def requests_are_answered_and_counted(self, canary: int, baseline: int, seconds: float) -> None:
        """A look at counters of now."""
        self.now += seconds
        self._serve(canary, baseline)
        self._look(Observation(self.world.canary, self.world.baseline, at=self.now, answers=self.world.answers))

    @rule(looks=st.integers(1, 4), seconds=st.sampled_from((0.2, 1.0)))
    def traffic_flows(self, looks: int, seconds: float) -> None:
        """Plenty of requests, as long as the policy wants them; blue is idle once green has all of them."""
        for _ in range(looks):
            self.requests_are_answered_and_counted(60, 0 if self.state.percent == 100 else 60, seconds)

    @rule(canary=REQUESTS, baseline=REQUESTS, age_s=st.sampled_from((5.1, 7.0, 1000.0)))
    def the_reading_is_too_old(self, canary: int, baseline: int, age_s: float) -> None:
        """Whatever it says, it is of another time."""
        self.now += 0.1
        self._serve(canary, baseline)
        seen = Observation(self.world.canary, self.world.baseline, at=self.now - age_s, answers=self.world.answers)
        self._look(seen, fresh=False)

    @rule(seconds=st.sampled_from((0.1, 2.0, 11.0)))
    def there_is_no_reading(self, seconds: float) -> None:
        """The metrics source is down."""
        self.now += seconds
        self._look(Observation(), fresh=False)

    @rule(requests=REQUESTS)
    def the_counters_start_at_zero_again(self, requests: int) -> None:
        """The gateway was started again, and has counted a few since."""
        self.now += 0.1
        self.world.canary = Counts(0, timed=0)
        self.world.baseline = Counts(requests, timed=requests, routed=requests)
        self._look(Observation(self.world.canary, self.world.baseline, at=self.now, answers=self.world.answers))

    @precondition(lambda self: self.state.phase is Phase.GATED)
    @rule(approved=st.booleans(), percent=st.sampled_from((20, 50, 100)))
    def a_person_answers(self, approved: bool, percent: int) -> None:
        """To this gate, or to another one."""
        self.now += 0.1
        if percent == self.state.percent and self.state.approvals[-1].answered_at is None:
            (self.world.yes if approved else self.world.no).add(percent)
        self._look(Observation(approval=Approval(percent, approved, "ada")), fresh=False)

    @rule()
    @precondition(lambda self: self.state.phase not in (Phase.DONE, Phase.STARTING))
    def the_process_dies_and_another_goes_on(self) -> None:
        """From JSON, doing again what was asked for last: the gateway hears nothing new."""
        resumed = State.from_json(self.state.to_json())
        assert resumed == self.state
        assert pending(resumed) == (self.world.told[-1],)
        self.state = resumed

    @rule()
    @precondition(lambda self: self.fragile and self.state.phase in (Phase.SHIFTING, Phase.PROMOTING))
    def an_action_fails(self) -> None:
        """The platform cannot do what it was asked for."""
        self._act(*step(self.state, Observation(failure="no"), self.now))
        assert self.state.phase is Phase.ROLLING_BACK
        assert self.state.outcome is Outcome.ROLLED_BACK

    @rule()
    @precondition(lambda self: self.fragile or self.state.phase in (Phase.PROMOTING, Phase.ROLLING_BACK))
    def the_time_of_the_run_is_over(self) -> None:
        """What was asked for last is not stopped half-way; everything else ends with the baseline."""
        asked = self.state.phase in (Phase.PROMOTING, Phase.ROLLING_BACK, Phase.DONE)
        before, told = self.state, len(self.world.told)
        self._act(*expired(self.state, self.now))
        assert (self.state == before) == asked
        assert asked or isinstance(self.world.told[told], RollBack)

    @rule()
    @precondition(lambda self: self.state.phase is Phase.ROLLING_BACK)
    def the_roll_back_fails(self) -> None:
        """It stays asked for."""
        state, actions = step(self.state, Observation(failure="no"), self.now)
        assert (state.phase, actions) == (Phase.ROLLING_BACK, ())
        assert pending(state) == (self.world.told[-1],)

    @invariant()
    def the_gateway_is_told_only_what_the_policy_says(self) -> None:
        """Weights, assignments and mirrors in order, then one end, and nothing after it."""
        routing = [action for action in self.world.told if not isinstance(action, Promote | RollBack)]
        assert routing == [stage.action for stage in self.policy.stages][: len(routing)]
        endings = [isinstance(action, Promote | RollBack) for action in self.world.told]
        assert endings == sorted(endings)
        assert self.world.told.count(Promote()) <= 1
        assert sum(isinstance(action, RollBack) for action in self.world.told) <= 1

    @invariant()
    def it_is_promoted_exactly_if_the_last_word_was_so(self) -> None:
        """DONE is the baseline or the promoted canary, and final."""
        if self.state.phase is not Phase.DONE:
            assert self.state.outcome is None or self.state.phase is Phase.ROLLING_BACK
            return
        assert (self.state.outcome is Outcome.PROMOTED) == isinstance(self.world.told[-1], Promote)
        late = Observation(Counts(10**6, 10**6), Counts(), failure="late")
        assert step(self.state, late, self.now + 1) == (self.state, ())
        assert expired(self.state, self.now + 1) == (self.state, ())
        assert pending(self.state) == ()

    @invariant()
    def what_is_open_is_recorded_once(self) -> None:
        """A step is closed once, each has its mark, and no count is negative."""
        assert len(self.state.steps) <= len(self.state.marks) <= len(self.policy.stages)
        if self.state.phase in OPEN:
            assert len(self.state.marks) == len(self.state.steps) + 1
        assert all(counts.requests >= 0 and counts.failed >= 0 for pair in self.state.pairs for counts in pair)

    def teardown(self) -> None:
        """Left alone without metrics, every rollout ends in its time."""
        if not hasattr(self, "state"):
            return
        began, promoted = self.now, self.world.told.count(Promote())
        while self.state.phase is not Phase.DONE:
            self.now += 1.0
            self._look(Observation(), fresh=False)
            assert self.now - began <= self.policy.at_most_s + 2
        assert self.world.told.count(Promote()) == promoted
        self.it_is_promoted_exactly_if_the_last_word_was_so()

    def _serve(self, canary: int, baseline: int) -> None:
        bad = 0 if self.good else canary
        self.world.canary += Counts(canary, bad, 0, canary, canary)
        self.world.baseline += Counts(baseline, 0, 0, baseline, baseline)
        answers = self.world.answers
        self.world.answers = Answers(
            answers.cuts,
            (answers.baseline_below[0] + baseline // 2,),
            (answers.canary_below[0] + canary // 2,),
            answers.baseline + baseline,
            answers.canary + canary,
            answers.compared + canary,
            answers.agreed + canary,
        )

    def _look(self, seen: Observation, *, fresh: bool = True) -> None:
        before = self.state.canary.total.requests
        state, actions = step(self.state, seen, self.now)
        grown = state.canary.total.requests - before
        assert grown == 0 or fresh
        if grown:
            self.world.last_seen_at = self.now
        self.world.since_told += grown
        self.world.fresh = fresh
        self._act(state, actions)

    def _act(self, state: State, actions: tuple[Action, ...]) -> None:
        for action in actions:
            if not isinstance(action, RollBack) and self.world.told:
                self._may_go_on()
            self.world.told.append(action)
            self.world.since_told = 0
        self.state = state

    def _may_go_on(self) -> None:
        """Further users, or all of them, only with fresh evidence of a good canary, and a yes where one is needed."""
        world, policy = self.world, self.policy
        assert world.fresh
        assert self.good or self.state.percent == 0 or world.since_told == 0
        needs_requests = not isinstance(policy, ABTest)
        assert world.since_told >= (1 if needs_requests else 0)
        assert self.now - world.last_seen_at <= policy.max_age_s
        if isinstance(policy, Canary):
            assert world.since_told >= policy.min_step_requests
            assert self.state.percent not in policy.manual or self.state.percent in world.yes
            assert not world.no


RolloutMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestRollout = RolloutMachine.TestCase
