"""What a run takes from Prometheus: the series of its page, and a count to hold against other counts."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from harness.backends.backend import Backend
from harness.errors import WaitTimeout
from harness.load.access_log import requests_to
from harness.report.record import SeriesRecord
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait

SCRAPE_LAG_S = 10.0
LOG_LAG_S = 2.0
STEP_S = 1.0
WHOLE_RUN = "2h"
COUNTER = "envoy_cluster_upstream_rq_completed"


@dataclass(frozen=True)
class Panel:
    """One recorded series of a service, by revision."""

    name: str
    metric: str
    unit: str

    def query(self, namespace: str, service: str) -> str:
        return f'{self.metric}{{namespace="{namespace}",service="{service}"}}'


TOTAL = Panel("requests", "rehearsal:requests:total", "requests")
PANELS = (
    Panel("request rate", "rehearsal:requests:rate5s", "requests/s"),
    Panel("failed requests", "rehearsal:failed:rate5s", "requests/s"),
    Panel("latency, 99th percentile", "rehearsal:latency_ms:p99", "ms"),
)


def counted_requests(backend: Backend, namespace: str, service: str, *, at_least: int) -> int:
    """How many requests Prometheus counted for a service; waits for the scrape that has `at_least` so many.

    What it has after SCRAPE_LAG_S is returned all the same.
    """
    # Envoy's counters of what is retired end with their last scrape; their highest values are what they had counted.
    # In a cluster a revision has one Envoy cluster after the other, so that no sum of those of one moment has them all.
    chosen = f'namespace="{namespace}",service="{service}",revision!=""'
    query = f"max_over_time({COUNTER}{{{chosen}}}[{WHOLE_RUN}])"
    counted = 0

    def enough() -> bool:
        nonlocal counted
        counted = round(sum(backend.query(query).values()))
        return counted >= at_least

    with contextlib.suppress(WaitTimeout):
        wait(enough, what="Prometheus's count", deadline=Deadline.after(SCRAPE_LAG_S), every_s=0.2)
    return counted


def logged_requests(backend: Backend, host: str, *, at_least: int) -> int:
    """How many requests to a host, copies and a router's own ones among them, the gateway's access log has.

    Waits until it has `at_least`; what it has after LOG_LAG_S is returned all the same.
    """
    logged = 0

    def enough() -> bool:
        nonlocal logged
        logged = requests_to(backend.access_log, host) + backend.own_requests(host)
        return logged >= at_least

    with contextlib.suppress(WaitTimeout):
        wait(enough, what="the access log", deadline=Deadline.after(LOG_LAG_S), every_s=0.2)
    return logged


def disagreement(sent: int, counted: int, logged: int) -> str:
    """What is wrong unless sent <= counted <= logged; empty if nothing is.

    The clients also send what no load counts (smoke, drift), and the gateway logs what no revision answered.
    """
    if counted < sent:
        return f"{sent - counted} are missing"
    if counted > logged:
        return f"{counted - logged} were counted that the gateway did not log"
    return ""


def series(backend: Backend, namespace: str, service: str, start_s: float, end_s: float) -> list[SeriesRecord]:
    """The page's series of a service between two Unix times; those without a point are left out."""
    records = []
    for panel in PANELS:
        query = panel.query(namespace, service)
        points = backend.query_range(query, start_s, end_s, STEP_S)
        if any(points.values()):
            records.append(SeriesRecord(name=panel.name, query=query, unit=panel.unit, points=points))
    return records
