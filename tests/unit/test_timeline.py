"""A load by time: each second's requests where they were due, left and were answered, and its latencies."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from harness.load.blocks import Block
from harness.load.join import join
from harness.load.records import RECORD_FIELDS
from harness.load.timeline import MOST_STEPS, Timeline, busiest, step_of
from harness.report.record import LoadTimeline
from tests.unit.test_latency import NAMES, sent

ENTRY = [
    ("mark", "u1"), ("flags", "u1"), ("revision", "u1"), ("attempts", "u1"), ("code", "<u2"), ("unused", "<u2"),
    ("ms", "<f4"),
]  # fmt: skip


def block(*rows: tuple[int, ...]) -> Block:
    """Requests that the gateway logged as the client saw them; one that was not sent has no line."""
    records = np.array(list(rows), list(RECORD_FIELDS))
    entries = np.zeros(len(rows), ENTRY)
    entries["mark"], entries["code"] = records["status"] > 0, records["status"]
    entries["revision"] = records["revision"]
    return Block(rows[0][0] - 1, np.ones(len(rows), bool), records, entries, np.zeros(len(rows), ENTRY))


def timeline(*blocks: Block, step_s: int = 1) -> LoadTimeline:
    found = Timeline(step_s)
    for known in blocks:
        found.add(known, join(known, NAMES, [""]), int(known.records["intended_us"][-1]) // 1_000_000)
    return found.finished(NAMES, [[0.1, 0.2, 0.3], [0.3, 0.1]])


def test_each_revision_has_its_own_columns() -> None:
    """250 requests at 100 a second, every tenth on v2, read in blocks that end within a second."""
    rows = [sent(i, 2 if i % 10 == 0 else 1, ms=i % 100) for i in range(250)]
    found = timeline(*(block(*rows[first : first + 30]) for first in range(0, 250, 30)))
    assert found.offered == [100, 100, 50]
    assert found.revisions["v1"].requests == [90, 90, 45]
    assert found.revisions["v2"].requests == [10, 10, 5]
    assert (found.revisions["v2"].p50_ms[0], found.revisions["v2"].p99_ms[0]) == (40.0, 90.0)
    assert (found.p50_ms[0], found.p90_ms[0], found.p99_ms[0], found.max_ms[0]) == (49.0, 89.0, 98.0, 99.0)
    assert found.generator_cpu == [0.3, 0.2, 0.3]


def test_requests_count_where_they_were_due_left_and_were_answered() -> None:
    """Two requests of second 0 are answered in second 2; one left late; in between they are in flight."""
    late = sent(10, ms=2000)
    slow = sent(20, ms=2000, late_us=900_000)
    found = timeline(block(late, slow, sent(290)))
    assert found.offered == [2, 0, 1]
    assert found.sent == [1, 1, 1]
    assert found.answered == [0, 0, 3]
    assert found.in_flight == [1, 2, 0]
    assert found.delay_p99_ms[0] == 900.0
    assert math.isnan(found.p50_ms[1])


def test_failures_count_by_class_in_the_second_in_which_they_were_due() -> None:
    """An error of the model, two requests that were not sent."""
    rows = [sent(0), sent(50, status=500), *(sent(i, 0, ms=0, status=0) for i in (150, 160)), sent(290)]
    found = timeline(block(*rows))
    assert found.failed == {"never sent:too many in flight": [0, 2, 0], "status 500": [1, 0, 0]}
    assert found.sent == [2, 0, 1]


def test_an_unexplained_request_is_among_the_failures_whatever_its_status() -> None:
    """The client got 200, the gateway says that it sent 503."""
    known = block(sent(0), sent(150))
    known.entries["code"][1] = 503
    assert timeline(known).failed == {"unexplained": [0, 1]}


def test_a_long_load_has_few_entries() -> None:
    """A day has one each 24 s; in a step of 2 s the CPU is the mean of both."""
    assert [step_of(seconds) for seconds in (0.0, 3600.0, 3600.1, 86_400.0)] == [1, 1, 2, 24]
    assert 86_400 / step_of(86_400.0) <= MOST_STEPS
    found = timeline(block(*(sent(i) for i in range(0, 500, 10))), step_s=2)
    assert (found.step_s, found.offered) == (2, [20, 20, 10])
    assert busiest([[0.2, 0.4, 0.6]], 2) == pytest.approx([0.3, 0.6])


def test_a_record_of_before_the_timeline_is_still_read() -> None:
    """Its points by second and revision are columns; what it does not tell is empty."""
    from harness.report.record import timeline_of

    points: list[dict[str, Any]] = [
        {"t_s": 0.0, "revision": "v1", "requests": 3.0, "failed": 1.0, "p50_ms": 1.0, "p99_ms": 2.0},
        {"t_s": 1.0, "revision": "v2", "requests": 4.0, "failed": 0.0, "p50_ms": 1.5, "p99_ms": 2.5},
    ]
    found = timeline_of(points)
    assert found is not None
    assert (found.offered, found.failed, found.sent) == ([3, 4], {"failed": [1, 0]}, [])
    assert found.revisions["v2"].requests == [0, 4]
