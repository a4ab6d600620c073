"""Counts of revisions from the gateway's access log, and the log's way into the run's file."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.backends.kubernetes.access_log import Cursor, is_traffic, nanoseconds, parse_line, rfc3339
from harness.backends.kubernetes.counters import LogCounts, given, received
from harness.backends.kubernetes.metrics import wait_scraped
from harness.errors import WaitTimeout
from harness.runtime.clock import Deadline

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
    one, two = counts.counts("production-1", "model", HOST, 100)
    assert (one.revision, one.requests, one.failed, one.slow, one.timed, one.routed) == ("v1", 5, 2, 1, 4, 5)
    assert (two.revision, two.requests, two.slow, two.routed) == ("v2", 1, 1, 1)


def test_a_copy_counts_for_the_canary() -> None:
    """Envoy puts "-shadow" behind a copy's host."""
    counts = LogCounts()
    counts.take(line(host=f"{HOST}-shadow", revision="v2"))
    assert [found.revision for found in counts.counts("production-1", "model", HOST, 100)] == ["v2"]


def test_what_the_gateway_refused_counts_for_whom_it_was_meant() -> None:
    """A 503 for a revision without a healthy Pod has no header, but a cluster; one without either is nobody's."""
    counts = LogCounts()
    counts.take(line(code=503, revision="-", cluster="httproute/production-1/model--v1--v2--3--route/rule/0/backend/1"))
    counts.take(line(code=404, revision=None, cluster=None))
    (found,) = counts.counts("production-1", "model", HOST, 100)
    assert (found.revision, found.failed) == ("v2", 1)


V1 = "httproute/production-1/model--v1--v2--3--route/rule/0/backend/0"
V2 = "httproute/production-1/model--v1--v2--3--route/rule/0/backend/1"


def page(*samples: tuple[str, str, int]) -> str:
    """A part of Envoy's Prometheus page: (kind, cluster, value)."""
    return "\n".join(
        f'envoy_cluster_upstream_rq_{kind}{{envoy_cluster_name="{cluster}"}} {value}'
        for kind, cluster, value in samples
    )


def routed(counts: LogCounts) -> dict[str, int]:
    return {each.revision: each.routed for each in counts.counts("production-1", "model", HOST, 100)}


def test_a_request_is_routed_before_it_is_answered_and_before_its_line_comes() -> None:
    """What is under way, and what is answered and not yet logged, is in `routed` at once, and only once."""
    counts = LogCounts()
    counts.read({"envoy": page(("active", V1, 2), ("pending_active", V1, 1), ("completed", V1, 4), ("active", V2, 5))})
    assert routed(counts) == {"v1": 7, "v2": 5}
    for _ in range(7):
        counts.take(line(cluster=V1))
    counts.read({"envoy": page(("active", V1, 0), ("completed", V1, 7), ("active", V2, 5))})
    assert routed(counts) == {"v1": 7, "v2": 5}


def test_a_cluster_that_is_gone_keeps_what_it_was_given() -> None:
    """Its lines come later, and change nothing; a new cluster of that name counts on."""
    counts = LogCounts()
    counts.read({"envoy": page(("active", V1, 3), ("completed", V1, 10))})
    counts.read({"envoy": ""})
    for _ in range(13):
        counts.take(line(cluster=V1))
    assert routed(counts) == {"v1": 13}
    counts.read({"envoy": page(("active", V1, 1), ("completed", V1, 1))})
    assert routed(counts) == {"v1": 15}


def test_a_page_that_misses_a_request_between_two_numbers_counts_nothing_twice() -> None:
    """It was under way when one number was read, and completed after the other."""
    counts = LogCounts()
    counts.read({"envoy": page(("active", V1, 3), ("completed", V1, 10))})
    counts.read({"envoy": page(("active", V1, 1), ("completed", V1, 11))})
    assert routed(counts) == {"v1": 13}


def test_a_probe_of_the_router_is_neither_requested_nor_routed() -> None:
    """Envoy counts it, and its line takes it out again."""
    counts = LogCounts()
    counts.read({"envoy": page(("completed", V1, 2))})
    counts.take(line(cluster=V1))
    counts.take(line(cluster=V1, path="/v1/models/model?rehearsal-probe"))
    (found,) = counts.counts("production-1", "model", HOST, 100)
    assert (found.requests, found.routed) == (1, 1)


def test_every_envoy_counts_and_other_services_do_not() -> None:
    """Two proxies, and a service of the same name in another namespace."""
    counts = LogCounts()
    elsewhere = "httproute/production-2/model--v1--3--route/rule/0/backend/0"
    counts.read({"one": page(("completed", V1, 2)), "two": page(("completed", V1, 3), ("completed", elsewhere, 9))})
    assert routed(counts) == {"v1": 5}
    assert given(page(("total", V1, 32))) == {}


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


def test_a_route_is_kept_until_prometheus_has_its_last_counts() -> None:
    """Those of this run's clusters, of all Envoys together; what is under way will be counted too."""
    name = "httproute/production/m--v1--1--route/rule/0/backend/0"
    other = "httproute/elsewhere/m--v1--1--route/rule/0/backend/0"
    page = "\n".join(
        f'envoy_cluster_upstream_rq_{kind}{{envoy_cluster_name="{cluster}"}} {value}'
        for cluster, kind, value in ((name, "completed", 20), (name, "active", 1), (other, "completed", 9))
    )
    counts = received({"envoy-1": page, "envoy-2": page}, ("httproute/production/",))
    assert counts == {name: 42}
    key = f'{{envoy_cluster_name="{name}"}}'
    readings: list[dict[str, float]] = [{}, {key: 41.0}, {key: 42.0}, {}]
    wait_scraped(lambda promql: readings.pop(0), counts, Deadline.after(30))
    assert readings == [{}]
    with pytest.raises(WaitTimeout):
        wait_scraped(lambda promql: {}, counts, Deadline.after(0.1))


def test_a_probe_is_the_router_s_own() -> None:
    """Envoy has counted it for the revision, so that it must be known how many there were."""
    counts = LogCounts()
    counts.take(line(path="/v1/models/m?rehearsal-probe"))
    counts.take(line())
    assert counts.own(HOST) == 1
