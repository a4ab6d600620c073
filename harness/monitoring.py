"""What a run takes from Prometheus: the panels of its page, and a count to hold against other counts."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterable, Mapping

from harness.backends.backend import Backend
from harness.dashboards import DASHBOARDS, Dashboard, Panel
from harness.errors import RequestFailed, WaitTimeout
from harness.load.access_log import requests_to
from harness.report.record import LimitRecord, SeriesRecord
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait

SCRAPE_LAG_S = 10.0
LOG_LAG_S = 2.0
WHOLE_RUN = "2h"
COUNTER = "envoy_cluster_upstream_rq_completed"
RATE_WINDOW = "5s"
"""Of the panels' rates, at the interval that a rehearsal is scraped in: that of the recording rules."""
MOST_POINTS = 120
MOST_LINES = 6
"""So many lines a chart can tell apart."""
_LABEL = re.compile(r'(\w+)="([^"]*)"')

Points = list[tuple[float, float]]


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


def panels(backend: Backend, services: Iterable[tuple[str, str]], start_s: float, end_s: float) -> list[SeriesRecord]:
    """Every panel of the dashboards for these (namespace, service), between two Unix times.

    At most MOST_LINES lines of about MOST_POINTS points; a panel without one has no line. Errors: RequestFailed.
    """
    values = _values(services)
    step_s = max(1.0, math.ceil((end_s - start_s) / MOST_POINTS))
    found = []
    for dashboard, panel in ((each, panel) for each in DASHBOARDS for panel in each.panels):
        query = panel.promql(values, RATE_WINDOW)
        try:
            points = backend.query_range(query, start_s, end_s, step_s)
        except RequestFailed as error:
            raise RequestFailed(f"{dashboard.title}: {panel.title}: {error.message}", hint=error.hint) from error
        found.append(_recorded(dashboard, panel, query, points))
    return found


def _values(services: Iterable[tuple[str, str]]) -> dict[str, str]:
    """What the panels' variables stand for."""
    chosen = list(services)
    namespaces, names = ("|".join(sorted({each[at] for each in chosen})) for at in (0, 1))
    return {"namespace": namespaces, "service": names, "revision": ".*"}


def _recorded(dashboard: Dashboard, panel: Panel, query: str, points: Mapping[str, Points]) -> SeriesRecord:
    found = {
        labels: finite for labels, each in points.items() if (finite := [at for at in each if math.isfinite(at[1])])
    }
    kept = sorted(found, key=lambda labels: _worst(panel, found[labels]))[:MOST_LINES]
    names = _names(panel, [dict(_LABEL.findall(labels)) for labels in kept])
    lines = dict(sorted(zip(names, (found[labels] for labels in kept), strict=True)))
    limit = panel.limit
    return SeriesRecord(
        dashboard=dashboard.title,
        name=panel.title,
        query=query,
        unit=panel.unit.value,
        says=panel.says,
        points=lines,
        left_out=len(found) - len(kept),
        limit=LimitRecord(at=limit.at, label=limit.label) if limit else None,
        powers=panel.powers,
    )


def _worst(panel: Panel, points: Points) -> float:
    """What tells how much a line is worth a place, the least first."""
    values = [value for _, value in points]
    return min(values) if panel.limit is not None and panel.limit.bad == "below" else -max(values)


def _names(panel: Panel, labels: list[dict[str, str]]) -> list[str]:
    """What the lines are called: as in Grafana, with more of their labels where that tells them not apart."""
    names = [panel.name(each) for each in labels]
    if len(set(names)) < len(names):
        names = [
            f"{each.get('namespace')}/{each.get('service')} {name}" for each, name in zip(labels, names, strict=True)
        ]
    return names if len(set(names)) == len(names) else [" ".join(each.values()) for each in labels]
