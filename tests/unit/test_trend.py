"""`rehearse trend`: what is said of the newest of several runs, how often that is wrong, and what is drawn."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from harness.cli import run_command
from harness.compare.intervals import next_share
from harness.compare.trend import Newest, Value, figure, predicted, trend
from harness.report.record import RunRecord
from harness.report.store import write_record
from tests.unit import sample_load
from tests.unit.sample_record import START

DAY_S = 86_400.0


def nights(*p99_ms: float, title: str = "Soak") -> list[RunRecord]:
    """A run a night with this 99th percentile."""
    found = []
    for night, value in enumerate(p99_ms):
        record = sample_load.run(30)
        assert record.loads[0].overall is not None
        record.loads[0].overall.p99_ms = value
        record.title, record.run_id, record.started_at = title, f"night-{night}", START + night * DAY_S
        found.append(record)
    return found


def test_a_percentile_that_doubled_is_said_and_one_as_ever_is_not() -> None:
    steady = (10.0, 11.0, 9.5, 10.4, 10.9, 9.8, 10.2, 10.6, 9.9, 10.1)
    moved = trend(nights(*steady, 21.0), last=30).moved
    assert [(track.title, each.name, each.newest) for track, each in moved] == [
        ("Soak (embedded)", "step: p99", Newest.HIGHER)
    ]
    assert trend(nights(*steady, 10.7), last=30).moved == []


def failing(*shares: float, sent: int = 20_000) -> list[RunRecord]:
    """A run a night of which this share of the requests failed, one revision's load."""
    records = nights(*[10.0] * len(shares))
    for record, share in zip(records, shares, strict=True):
        (load,) = record.loads
        load.sent, load.latency = sent, load.latency[:1]
        load.latency[0].failed = round(share * sent)
    return records


@pytest.mark.parametrize(
    ("before", "newest", "said"),
    [
        ([0.001, 0.0012, 0.0009, 0.001, 0.0011], 0.01, Newest.HIGHER),  # 99.9 % -> 99 % good answers
        ([0.0] * 5, 0.01, Newest.HIGHER),
        ([0.0] * 5, 0.0001, Newest.LIKE),  # two of 20,000
        ([0.01, 0.011, 0.009, 0.01, 0.01], 0.0, Newest.LOWER),
        ([0.001, 0.02, 0.0, 0.004, 0.03], 0.01, Newest.LIKE),  # as they fail now and then
    ],
)
def test_failures_that_are_more_than_before_are_said_and_no_more_are_not(
    before: list[float], newest: float, said: Newest
) -> None:
    (track,) = trend(failing(*before, newest), last=30).tracks
    (failures,) = [each for each in track.figures if each.name == "step: failed requests"]
    assert failures.newest is said
    assert failures.points[-1][1] == pytest.approx(100 * newest)


def test_failures_as_before_are_said_to_differ_as_rarely_as_is_stated() -> None:
    """Of 4,000 newest runs at alpha = 0.05 at most 5 % lie outside, independent failures or not."""
    chance = np.random.default_rng(4)
    for spread in (1e-9, 0.5):  # of the logarithm of the nights' rates
        outside = 0
        for _ in range(4000):
            rates = 1e-3 * np.exp(chance.normal(0, spread, 7))
            *before, newest = chance.binomial(10_000, rates)
            low, high = next_share(before, [10_000] * 6, 10_000, 0.05)
            outside += not low <= newest / 10_000 <= high
        assert outside / 4000 <= 0.06


def test_a_capacity_that_fell_is_said_whatever_its_probes_were_called() -> None:
    """The loads that confirmed it are of a rate of their own each night, and are no figures."""
    records = nights(*[10.0] * 7)
    for record, rate in zip(records, (400, 410, 395, 405, 402, 398, 250), strict=True):
        (search,) = record.capacity
        search.capacity_rps, search.steps[-1].load = rate, record.loads[0].name
    found = trend(records, last=30)
    assert [(each.name, each.newest) for _, each in found.moved] == [(f"capacity of {search.service}", Newest.LOWER)]
    assert not any(each.name.startswith(record.loads[0].name) for each in found.tracks[0].figures)


def test_the_interval_is_that_of_one_further_value_of_a_log_normal_distribution() -> None:
    """Of 4,000 newest values at alpha = 0.05 5 % lie outside, from six runs before them."""
    chance = np.random.default_rng(8)
    outside = 0
    for _ in range(4000):
        *before, newest = np.exp(chance.normal(2.0, 0.3, 7))
        low, high = predicted(before, 0.05)
        outside += not low <= newest <= high
    assert outside / 4000 == pytest.approx(0.05, abs=0.012)


def test_with_few_runs_nothing_is_said() -> None:
    assert predicted([1.0] * 4, 0.01) == (0.0, math.inf)
    assert figure("p99", "ms", [Value(0.0, 1.0), Value(1.0, 99.0)], 0.01).newest is Newest.FEW


def test_runs_of_another_title_or_world_are_another_kind_and_only_the_last_count() -> None:
    found = trend([*nights(1.0, 2.0, 3.0), *nights(9.0, 8.0, title="Ramp")], last=2)
    assert {track.title: track.runs for track in found.tracks} == {
        "Soak (embedded)": ("night-1", "night-2"),
        "Ramp (embedded)": ("night-0", "night-1"),
    }


def test_the_command_reads_runs_wherever_they_lie_and_leaves_out_what_it_cannot_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for record in nights(10.0, 11.0, 9.5, 10.4, 10.9, 9.8, 40.0):
        write_record(record, tmp_path / "nightly" / "runs" / record.run_id)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_text("{")

    assert run_command(["trend", "--reports", str(tmp_path), "--title", "soak"]) == 0
    said = capsys.readouterr().out
    assert "Soak (embedded), step: p99: 40" in said
    (folder,) = tmp_path.glob("*-trend")
    assert json.loads((folder / "trend.json").read_text())["tracks"][0]["passed"] == 7
    assert (folder / "index.html").read_text(encoding="utf-8").count("<figure") == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--last", "1"], "trend: --last: expected a whole number from 2 to 1000, got 1"),
        (["--title", "nothing"], "trend: no run with a load with 'nothing' in its title in "),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run_command(["trend", "--reports", str(tmp_path), *arguments]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert message in said
    assert list(tmp_path.iterdir()) == []
