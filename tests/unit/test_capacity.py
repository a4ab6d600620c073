"""The capacity search: on queues whose capacity is known it reports a rate that keeps the SLO, in bounded time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness._capacity import answers_of
from harness.errors import ConfigError
from harness.lifecycle.capacity import CONFIRMS, End, Probe, Search, following, judge
from harness.lifecycle.probe import Answers, Seen, known, likeness, settled
from harness.lifecycle.slo import SLO
from harness.load.records import Failure, LoadFiles, Recorder
from harness.report.record import CapacityStep
from harness.simulate.queue import QueueServer, search_on

PROMISE = SLO(errors=0.02, slower_than_ms=50, slow=0.05)
RUNS = 60


def searches(server: QueueServer, search: Search, runs: int = RUNS) -> list[float | None]:
    found = [search_on(server, search, np.random.default_rng(seed)) for seed in range(runs)]
    assert max(seconds for _, _, seconds in found) <= search.budget_s
    return [end.capacity_rps for end, _, _ in found]


def test_the_rate_that_is_reported_keeps_the_slo_on_a_queue_with_known_capacity() -> None:
    """M/M/1, 500 a second, at most 5 % over 50 ms: 440 by theory. Latencies of neighbours are alike near it."""
    server = QueueServer(1 / 500)
    capacity = server.capacity(50, 0.05)
    assert capacity == pytest.approx(440.1, abs=0.1)
    found = searches(server, Search(PROMISE, confidence=0.99))
    told = [rate for rate in found if rate is not None]
    assert sum(rate > capacity for rate in told) <= 2  # 0.6 expected at most, 3 or more have a chance of 2 %
    assert len(told) > 0.7 * RUNS
    assert np.median(told) > 0.65 * capacity


def test_a_server_with_a_sharp_limit_is_found_to_the_precision() -> None:
    """Every request takes 2 ms and arrivals are even: 500 a second are answered at once, 501 never again."""
    server = QueueServer(1 / 500, service="constant", arrivals="constant")
    told = searches(server, Search(PROMISE, precision=0.02), 5)
    assert all(rate is not None and 500 / 1.02 <= rate <= 500 for rate in told), told


def test_a_server_with_several_workers_is_searched_alike() -> None:
    """M/M/4 of the same total rate: 431.3 a second, by Erlang's formula."""
    told = [rate for rate in searches(QueueServer(4 / 500, workers=4), Search(PROMISE), 20) if rate is not None]
    assert len(told) >= 15
    assert max(told) <= 431.4


def test_a_server_that_fails_too_often_has_no_capacity() -> None:
    """3 % of the answers are errors, 2 % are allowed."""
    end, steps, seconds = search_on(
        QueueServer(1e-4, errors=0.03), Search(PROMISE, low_rps=200), np.random.default_rng(1)
    )
    assert end.capacity_rps is None
    assert end.reason == "200 requests a second already break the SLO, or nearly"
    assert (len(steps), seconds < 10) == (1, True)


def test_a_server_that_is_never_full_is_confirmed_at_the_highest_rate() -> None:
    end, steps, _ = search_on(QueueServer(1e-5), Search(PROMISE, high_rps=900), np.random.default_rng(1))
    assert (end.capacity_rps, end.broken_rps) == (900, None)
    assert end.reason.endswith("it is the highest rate that was to be tried")
    assert [step.purpose for step in steps][-1] == "confirm"


def test_the_search_ends_when_its_time_is_up() -> None:
    """40 s are enough for a few probes and one confirmation."""
    end, steps, seconds = search_on(
        QueueServer(1 / 500, service="constant", arrivals="constant"),
        Search(PROMISE, budget_s=40),
        np.random.default_rng(1),
    )
    assert seconds <= 40
    assert end.capacity_rps == steps[-1].rate


def test_a_confirmation_needs_the_evidence_of_its_share_of_the_error() -> None:
    """1 % over four confirmations: 400 to 1, for errors and for slow requests."""
    search = Search(PROMISE)
    assert search.level == pytest.approx(CONFIRMS / 0.01)
    good = Seen(1000, 0, 0, 1000.0, 1.0, 2.0)
    assert judge(search, "confirm", good)[0] == "kept"
    assert judge(search, "confirm", Seen(1000, 0, 0, 100.0, 1.0, 2.0))[0] == "open"
    assert judge(search, "confirm", Seen(1000, 0, 200, 1000.0, 1.0, 2.0))[0] == "broken"
    assert judge(search, "confirm", Seen(1000, 0, 0, 1000.0, 1.0, 2.0, "sent late"))[0] == "withheld"


def test_a_probe_that_the_generator_spoilt_is_made_once_more() -> None:
    """If it is spoilt again, that rate is the generator's limit, and the answer says so."""
    search = Search(PROMISE)
    start = {"purpose": "seek", "started_at": 0.0, "duration_s": 6.0, "p50_ms": 1.0, "p99_ms": 2.0}
    counts = {"requests": 100, "failed": 0, "slow": 0, "effective": 100.0, "guards": []}
    kept = CapacityStep.model_validate({"rate": 10.0, "decision": "kept", **start, **counts})
    spoilt = CapacityStep.model_validate(
        {"rate": 20.0, "decision": "withheld", "reason": "it sent late", **start, **counts}
    )
    again = following(search, [kept, spoilt], 12.0)
    assert isinstance(again, Probe)
    assert (again.rate, again.purpose) == (20.0, "seek")
    after = following(search, [kept, spoilt, spoilt], 18.0)
    assert isinstance(after, Probe)
    assert 10.0 < after.rate < 20.0
    never = following(search, [spoilt.model_copy(update={"rate": 10.0})] * 2, 12.0)
    assert isinstance(never, End)
    assert never.reason == "the generator could not offer 10 requests a second faithfully: it sent late"


def test_requests_that_are_alike_count_less() -> None:
    """Independent ones count nearly fully; the same with each value repeated for a second, hardly at all."""
    rng = np.random.default_rng(1)
    times = np.arange(4000) / 100
    assert likeness(times, rng.exponential(1, 4000)) < 3
    assert likeness(times, np.repeat(rng.exponential(1, 40), 100)) > 30
    assert likeness(times, np.ones(4000)) == 1.0


def test_what_a_probe_begins_with_is_not_judged() -> None:
    """The first fifth, at least a second, was slow; the rest is judged."""
    due = np.arange(1000) / 100
    latency = np.where(due < 2, 500.0, 5.0)
    seen = settled(Answers(due, latency, np.zeros(1000, bool)), PROMISE)
    assert (seen.slow, seen.p50_ms) == (0, 5.0)
    assert seen.requests == pytest.approx(800, abs=2)


def test_requests_that_hang_are_seen_long_before_they_give_up() -> None:
    """One in fifty hangs for ten seconds: after eight none of them has ended, and all the others were fast."""
    due = np.arange(8000) / 1000
    hangs = np.arange(8000) % 50 == 7
    everything = Answers(due, np.where(hangs, 10_000.0, 5.0), hangs)
    seen = settled(known(everything, 8.0, PROMISE.slower_than_ms), PROMISE)
    assert seen.failed == seen.slow == pytest.approx(seen.requests / 50, abs=1)
    assert judge(Search(SLO(errors=0.01, slower_than_ms=50, slow=0.05)), "confirm", seen)[0] == "broken"


def test_what_is_known_of_a_running_load_is_in_its_records(tmp_path: Path) -> None:
    """Two processes: what was not sent, or has not ended, failed; what was due too short a time ago is left out."""
    files = LoadFiles(tmp_path)
    recorders = [Recorder(files, share, 2) for share in range(2)]
    for sequence in range(100):  # 10 ms apart
        due_us = sequence * 10_000
        if sequence == 31:
            recorders[1].write(sequence, due_us, due_us, 0, 0, "", Failure.OVERLOADED)
        elif sequence != 40:  # under way
            recorders[sequence % 2].write(sequence, due_us, due_us, 5_000, 200, "v1", Failure.NONE)
    for recorder in recorders:
        recorder.close()
    load: Any = SimpleNamespace(files=files, spec=SimpleNamespace(shares=2))
    found = answers_of(load, bound_ms=50)
    assert len(found.due_s) == 94  # until 50 ms before 985 ms, when the first process had its last answer
    assert np.flatnonzero(found.failed).tolist() == [31, 40]
    assert np.flatnonzero(np.isinf(found.latency_ms)).tolist() == [31, 40]
    assert found.due_s[40] == pytest.approx(0.4)


def test_a_rate_at_which_much_is_not_answered_has_percentiles_all_the_same() -> None:
    """They are of what was answered, and run.json can be read again."""
    due = np.arange(1000) / 100
    away = np.arange(1000) % 10 == 0
    seen = settled(Answers(due, np.where(away, np.inf, 3.0), away), PROMISE)
    assert (seen.failed, seen.slow, seen.p50_ms, seen.p99_ms) == (80, 80, 3.0, 3.0)
    nothing = settled(Answers(due, np.full(1000, np.inf), np.ones(1000, bool)), PROMISE)
    assert nothing.failed == 800
    assert np.isnan(nothing.p99_ms)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"low_rps": -1}, "capacity.low_rps: expected a number from 1 to 20000, got -1"),
        ({"low_rps": 50, "high_rps": 10}, "capacity.low_rps: 50 is above high_rps, 10"),
        ({"confidence": 1.0}, "capacity.confidence: expected a number from 0.5 to 0.9999, got 1.0"),
        ({"precision": 0}, "capacity.precision: expected a number from 0.005 to 1, got 0"),
        ({"budget_s": 30, "confirm_s": 40.0}, "capacity.budget_s: 30 s is too short: two probes take 51 s"),
    ],
)
def test_a_search_that_makes_no_sense_is_one_clear_line(fields: Mapping[str, float], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Search(**fields)  # type: ignore[arg-type]
    assert words in str(caught.value)
