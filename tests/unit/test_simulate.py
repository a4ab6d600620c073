"""Simulated rollouts: the same code on a virtual clock, bit by bit the same for a seed, many side by side."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np
import pytest

from harness.cli import run_command
from harness.errors import UsageError
from harness.lifecycle import rollout
from harness.lifecycle.rollout import ABTest, BlueGreen, Canary, Outcome, Phase, Shadow
from harness.lifecycle.slo import SLO
from harness.simulate import Behaviour, World, described_case, hard_cases, lockstep, run_once, simulate_trials
from harness.simulate.results import OUTCOMES
from harness.simulate.tables import split_table
from harness.simulate.traffic import BASELINE, CANARY, FAILED, SLOW, Traffic
from harness.simulate.world import slow_share

SLO_2 = SLO(errors=0.02, slow=0.05)
LONG = Canary(SLO_2, steps=(5, 10, 25, 50, 100), min_step_s=300, max_step_s=400)
SHORT = Canary(SLO_2, min_step_s=5, max_step_s=60)


def test_a_canary_of_25_minutes_is_rehearsed_on_the_virtual_clock_alone() -> None:
    """1,500 looks, and nobody waits for them; `python -m benchmarks simulation` says how long they take."""
    began = time.monotonic()
    found = run_once(LONG, World(), 1)
    assert found.record.outcome == Outcome.PROMOTED
    assert found.record.duration_s == 1500
    assert time.monotonic() - began < found.record.duration_s / 10


@pytest.mark.parametrize("policy", [SHORT, ABTest(SLO_2), BlueGreen(SLO_2), Shadow(SLO_2, prediction_shift=0.1)])
def test_one_seed_is_one_run_bit_by_bit(policy: rollout.Policy) -> None:
    """The whole record as JSON; another seed is another run."""
    first, again, other = (run_once(policy, World(burst_s=3.0), seed).record.model_dump_json() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_one_seed_is_one_table_whatever_the_processes() -> None:
    """The batches and their seeds do not depend on the machine."""
    cases = [described_case(SHORT, World(Behaviour(0.2, 0.0)))]
    alone = simulate_trials(SHORT, cases, 900, 3, processes=1)
    beside = simulate_trials(SHORT, cases, 900, 3, processes=2)
    assert [found.as_json() for found in alone] == [found.as_json() for found in beside]


@pytest.mark.parametrize(
    ("policy", "world"),
    [
        (SHORT, World(Behaviour(0.02, 0.005), Behaviour(0.01, 0.005))),
        (SHORT, World(Behaviour(0.06, 0.005))),
        (SHORT, World(Behaviour(0.0, 0.0, breaks_at=100, then_errors=0.3))),
        (replace(SHORT, pause_s=4.0, manual=(50,)), World()),
        (replace(SHORT, prove_split=True, max_step_s=90), World(rps=150)),
        (replace(SHORT, max_step_s=250, min_step_s=0), World(rps=8)),
        (replace(SHORT, slo=SLO(0.02, 100, 0.3)), World(rps=100, warm_up_s=10, night_s=60, burst_s=2)),
    ],
)
def test_looks_that_are_left_out_would_have_changed_nothing(
    policy: Canary, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """15 trials in lockstep end as they do if the state machine is given every look."""
    skipping = lockstep.run_lockstep(policy, world, 15, np.random.default_rng(4), 1.0)
    due: list[np.bool_] = []

    def every_look(self: lockstep.Lockstep, now: float) -> object:
        self.count()
        due.append(np.bool_(True))
        return np.ones(len(self.trial), bool)

    monkeypatch.setattr(lockstep.Lockstep, "due", every_look)
    looking = lockstep.run_lockstep(policy, world, 15, np.random.default_rng(4), 1.0)
    assert due
    for name in ("outcome", "seconds", "canary", "harmed", "requests"):
        np.testing.assert_array_equal(getattr(skipping, name), getattr(looking, name))


def test_the_state_machine_decides_in_lockstep_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each promotion and roll back of 50 trials came out of `rollout.step`."""
    ended: list[str] = []

    def spy(state: rollout.State, seen: rollout.Observation, now: float) -> object:
        after = rollout.step(state, seen, now)
        if after[0].phase is Phase.DONE:
            ended.append(str(after[0].outcome))
        return after

    monkeypatch.setattr(lockstep, "step", spy)
    found = lockstep.run_lockstep(SHORT, World(Behaviour(0.03, 0.005)), 50, np.random.default_rng(5), 1.0)
    assert sorted(ended) == sorted(str(OUTCOMES[at]) for at in found.outcome)


def test_trials_in_lockstep_and_through_the_driver_have_one_law() -> None:
    """400 of each at twice the bound: shares promoted, rolled back and undecided differ by less than 4 deviations."""
    world = World(Behaviour(0.04, 0.005), Behaviour(0.03, 0.005), rps=30)
    policy = Canary(SLO_2, min_step_s=5, max_step_s=12)
    many = lockstep.run_lockstep(policy, world, 400, np.random.default_rng(6), 1.0).outcome
    driven = np.array([OUTCOMES.index(Outcome(run_once(policy, world, seed).record.outcome)) for seed in range(400)])
    for outcome in range(len(OUTCOMES)):
        shares = [(outcomes == outcome).mean() for outcomes in (many, driven)]
        assert abs(shares[0] - shares[1]) <= 4 * np.sqrt(2 * 0.25 / 400)
    assert len(set(many.tolist())) > 1


def test_wrong_verdicts_are_rare_where_naive_rules_are_mostly_wrong() -> None:
    """500 trials of the hardest canaries: at most 3 wrong verdicts, and hundreds by the naive rules."""
    found = {(one.case, one.rule): one for one in simulate_trials(SHORT, hard_cases(SHORT, World())[:2], 500, 7)}
    wrong = {key: sum(rate.count for rate in one.wrong_rates.values()) for key, one in found.items()}
    assert len(wrong) == 6
    assert all(count <= 3 for (_, rule), count in wrong.items() if rule == "rehearsal")
    assert all(count >= 450 for (_, rule), count in wrong.items() if rule != "rehearsal")


def test_a_bad_canary_is_rolled_back_and_its_harm_is_counted() -> None:
    """Every second request fails: each trial ends within seconds, and the harm is that of the canary's requests."""
    case = described_case(SHORT, World(Behaviour(0.5, 0.0)))
    assert case.wrong == {Outcome.PROMOTED}
    ours = simulate_trials(SHORT, [case], 300, 8)[0]
    assert ours.outcomes[Outcome.ROLLED_BACK].count == 300
    assert ours.seconds < 10
    assert ours.harmed is not None
    assert ours.harmed == pytest.approx(ours.canary_requests / 2, rel=0.3)


def test_the_other_policies_are_tried_through_the_driver() -> None:
    """20 trials of each; there are no naive rules for them."""
    for policy, good in ((BlueGreen(SLO_2), Outcome.PROMOTED), (Shadow(SLO_2), Outcome.CLEARED)):
        found = simulate_trials(policy, [described_case(policy, World())], 20, 9)
        assert [one.rule for one in found] == ["rehearsal"]
        assert found[0].outcomes[good].count == 20


@pytest.mark.parametrize("cut", [0.25, 0.5, 2.0])
def test_an_a_b_test_of_predictions_has_its_own_cut(cut: float) -> None:
    """A tenth more of the canary's predictions is positive; above 2 there are none, which is an answer as well."""
    policy = ABTest(SLO_2, metric="positive", cut=cut, min_effect=0.05)
    record = run_once(policy, World(canary=Behaviour(shift=0.1)), 1).record
    assert record.outcome == Outcome.CLEARED, record.reason
    (effect,) = [effect for effect in record.effects if effect.metric == "positive"]
    assert effect.difference == pytest.approx(0.0 if cut > 1 else 0.1, abs=0.05)


def test_simulated_traffic_has_the_shares_that_it_was_given() -> None:
    """Over 400,000 s x 10 requests, within 5 standard deviations; bursts keep the mean and add variance."""
    means = {}
    for burst_s in (0.0, 5.0):
        world = World(Behaviour(0.02, 0.03), Behaviour(0.01, 0.0), rps=10, burst_s=burst_s)
        traffic = Traffic(world, 2000, np.random.default_rng(10))
        for second in range(200):
            traffic.advance(second, 1.0, np.full(2000, 20))
            traffic.turn(1.0)
        totals = traffic.totals
        assert totals[:, CANARY].sum() == pytest.approx(0.2 * 10 * 200 * 2000, rel=0.006)
        assert totals[:, BASELINE, SLOW].sum() == 0
        share = totals[:, CANARY, SLOW].sum() / totals[:, CANARY].sum()
        assert share == pytest.approx(0.03, rel=0.04)
        means[burst_s] = (totals[:, CANARY, FAILED].mean(), totals[:, CANARY, FAILED].var())
    assert means[0.0][0] == pytest.approx(8, rel=0.05)
    assert means[5.0][0] == pytest.approx(8, rel=0.1)
    assert means[5.0][1] > 2 * means[0.0][1]


def test_traffic_thins_out_and_warm_canaries_are_fast() -> None:
    """A tenth of the requests at night; half of the answers slow at first, then the canary's share."""
    world = World(Behaviour(0.0, 0.01), rps=100, night_s=3600, warm_up_s=20)
    assert [round(world.rps_at(now)) for now in (0, 1800, 3600, 7200)] == [100, 55, 10, 100]
    assert [world.canary_slow_at(now) for now in (0, 20, 100)] == pytest.approx([0.5, 0.01, 0.01])


def test_a_latency_distribution_is_a_share_of_slow_requests() -> None:
    """Half of a lognormal is above its median; an exponential's tail."""
    assert slow_share("lognormal:100:0.7", 100) == pytest.approx(0.5)
    assert slow_share("exponential:50", 100) == pytest.approx(np.exp(-2))


def test_a_canary_at_its_bound_may_neither_be_promoted_nor_rolled_back() -> None:
    """What is wrong follows from the shares: beyond a bound a promotion, within all of them a roll back."""

    def wrong(canary: float, baseline: float) -> set[Outcome]:
        return set(described_case(SHORT, World(Behaviour(canary, 0.0), Behaviour(baseline, 0.0))).wrong)

    assert wrong(0.02, 0.01) == {Outcome.PROMOTED, Outcome.ROLLED_BACK}
    assert wrong(0.02, 0.0) == {Outcome.PROMOTED}
    assert wrong(0.005, 0.0) == {Outcome.ROLLED_BACK}
    assert wrong(0.015, 0.0) == set()


def test_the_table_of_the_documentation_is_what_the_code_computes() -> None:
    """docs/verdicts.md has the split's table as `rehearse simulate --table split` prints it."""
    from pathlib import Path

    page = Path(__file__).parents[2] / "docs" / "verdicts.md"
    assert str(split_table()) in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--canary-errors", "1.2"], "--canary-errors: expected a share from 0 to 1, got 1.2"),
        (["--trials", "0"], "--trials: expected a whole number from 1 to"),
        (["--rps", "0"], "rps: expected a number above 0"),
        (["--rps", "2"], "takes 173 canary requests, 300 s at 2 requests/s have 60; 865 s or 6 requests/s would do"),
        (["--canary-latency", "normal:1"], "latency: expected lognormal:MEDIAN_MS:SIGMA or exponential:MEAN_MS"),
        (["--canary-errors", "0.9", "--canary-slow", "0.9"], "together they are at most 1"),
        (["--canary-slow", "0.1", "--canary-latency", "exponential:9"], "give one of them"),
        (["--table", "splt"], "--table: expected split, promotion, rollback, assumptions, got 'splt'"),
        (["--policy", "missing.toml"], "missing.toml"),
        (["--every", "0"], "--every: expected seconds"),
    ],
)
def test_input_that_makes_no_sense_is_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, nothing on standard output."""
    assert run_command(["simulate", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert words in err


def test_a_policy_file_is_simulated(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    """JSON without anything that differs between two runs."""
    file = tmp_path_factory.mktemp("policy") / "canary.toml"
    file.write_text('kind = "canary"\nsteps = [20, 100]\nmax_step_s = 90\n', encoding="utf-8")
    texts = []
    for _ in range(2):
        assert run_command(["simulate", "--policy", str(file), "--json"]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]
    assert [step["percent"] for step in json.loads(texts[0])["rollout"]["steps"]] == [20, 100]


def test_trials_are_a_table_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Three rules a case; the described canary is the only case."""
    arguments = ["simulate", "--trials", "50", "--canary-errors", "0.2"]
    assert run_command(arguments) == 0
    assert "1-minute rate" in capsys.readouterr().out
    assert run_command([*arguments, "--json"]) == 0
    cases = json.loads(capsys.readouterr().out)["cases"]
    assert [case["rule"] for case in cases] == ["rehearsal", "200 requests", "1-minute rate"]
    assert cases[0]["wrong"]["promoted"]["count"] == 0


def test_shares_of_a_world_are_shares() -> None:
    """Each is told by its name."""
    with pytest.raises(UsageError, match="agreement: expected a share from 0 to 1, got 2"):
        Behaviour(agreement=2)
    with pytest.raises(UsageError, match="burst_s: bursts"):
        World(Behaviour(0.2, 0.0), burst_s=1)
