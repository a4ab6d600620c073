"""Counts of revisions from the gateway's access log, and the log's way into the run's file."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.backends.kubernetes.access_log import Cursor, is_traffic, nanoseconds, parse_line, rfc3339
from harness.backends.kubernetes.counters import LogCounts, active_requests

HOST = "model-production-1.example.com"


def line(**fields: Any) -> dict[str, Any]:
    return {"host": HOST, "path": "/v1/models/model:predict", "code": 200, "revision": "v1", "upstream_ms": 5, **fields}


def test_each_request_counts_once_for_who_answered() -> None:
    """Failures are 4xx, 5xx and what got no code; slow is beyond the bound; a host's port does not matter."""
    counts = LogCounts()
    for fields in (
        line(),
        line(host=f"{HOST}:80", upstream_ms=100),
        line(upstream_ms=101),
        line(code=500, upstream_ms=2),
        line(code=0, upstream_ms=None),
        line(revision="v2", upstream_ms=300),
        line(host="other-production-1.example.com"),
    ):
        counts.take(fields)
    one, two = counts.counts(HOST, 100, {"v1": 3})
    assert (one.revision, one.requests, one.failed, one.slow, one.timed, one.routed) == ("v1", 5, 2, 1, 4, 8)
    assert (two.revision, two.requests, two.slow, two.routed) == ("v2", 1, 1, 1)


def test_a_copy_counts_for_the_canary() -> None:
    """Envoy puts "-shadow" behind a copy's host."""
    counts = LogCounts()
    counts.take(line(host=f"{HOST}-shadow", revision="v2"))
    assert [found.revision for found in counts.counts(HOST, 100, {})] == ["v2"]


def test_what_the_gateway_refused_counts_for_whom_it_was_meant() -> None:
    """A 503 for a revision without a healthy Pod has no header, but a cluster; one without either is nobody's."""
    counts = LogCounts()
    counts.take(line(code=503, revision="-", cluster="httproute/production-1/model.v1.v2/rule/0/backend/1"))
    counts.take(line(code=404, revision=None, cluster=None))
    (found,) = counts.counts(HOST, 100, {})
    assert (found.revision, found.failed) == ("v2", 1)


def test_requests_under_way_are_read_from_envoys_gauges() -> None:
    """Those of one service, by revision, pending ones too, over all of its routes."""
    page = "\n".join(
        f'envoy_cluster_upstream_rq_{kind}{{envoy_cluster_name="httproute/{route}/rule/0/backend/{place}"}} {value}'
        for kind, route, place, value in [
            ("active", "production-1/model.v1.v2", 0, 2),
            ("pending_active", "production-1/model.v1.v2", 0, 1),
            ("active", "production-1/model.v1.v2", 1, 4),
            ("active", "production-1/model.v2.alone--route", 0, 8),
            ("active", "production-2/model.v1", 0, 16),
            ("total", "production-1/model.v1", 0, 32),
        ]
    )
    assert active_requests(page, "production-1", "model") == {"v1": 3, "v2": 12}


def test_a_line_read_again_after_a_break_is_not_new() -> None:
    """Lines of one time are told apart by their number in it."""
    cursor = Cursor()
    times = [10, 20, 20, 30]
    cursor.begin()
    assert [cursor.is_new(at) for at in times] == [True] * 4
    cursor.begin()
    assert [cursor.is_new(at) for at in [30, 30, 40]] == [False, True, True]
    cursor.begin()
    assert [cursor.is_new(at) for at in [20, 30, 30, 40, 50]] == [False, False, False, False, True]


def test_lines_of_one_time_that_a_break_divided_all_arrive() -> None:
    """Two of three lines were taken before the connection broke."""
    cursor = Cursor()
    cursor.begin()
    assert [cursor.is_new(at) for at in [7, 7]] == [True, True]
    cursor.begin()
    assert [cursor.is_new(at) for at in [7, 7, 7]] == [False, False, True]


@pytest.mark.parametrize("text", ["2026-11-24T00:09:19.141Z", "2026-11-24T00:09:19.141000000Z"])
def test_times_compare_whatever_their_fractions_length(text: str) -> None:
    """The same moment is the same number of nanoseconds."""
    assert rfc3339(nanoseconds(text)) == "2026-11-24T00:09:19.141000000Z"
    assert nanoseconds("2026-11-24T00:09:19Z") < nanoseconds(text)


def test_other_output_of_envoy_is_no_line() -> None:
    """Its own messages and half lines are left out."""
    stamp = "2026-11-24T00:09:19.141Z"
    assert parse_line(f"{stamp} [warning] starting") is None
    assert parse_line(f'{stamp} {{"id": "half') is None
    assert parse_line(f"no-time {json.dumps(line())}") is None
    parsed = parse_line(f"{stamp} {json.dumps(line())}")
    assert parsed is not None
    assert parsed[2] == line()


def test_the_routers_own_requests_are_nobodys_traffic() -> None:
    """Neither its question for the version nor its look at a revision is counted."""
    assert is_traffic(line())
    assert not is_traffic(line(path="/.rehearsal/route"))
    assert not is_traffic(line(path="/v1/models/model?rehearsal-probe"))
