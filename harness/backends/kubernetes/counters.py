"""Each revision's requests, counted from the gateway's access log, with what is under way from Envoy's gauges.

Envoy's own counters cannot be read to the last request here: Envoy Gateway removes the cluster of a backend as soon as
it has weight 0, and its counters with it. The access log has every request once, so its counts equal the ledger's.
See docs/adr/0013-per-revision-counters.md for the measurement.
"""

from __future__ import annotations

import re
import threading
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.backends.kubernetes.routes import revision_of_cluster
from harness.components.gateway import SHADOW
from harness.lifecycle.slo import LATENCY_BUCKETS_MS
from harness.report.record import RevisionCounts

_GAUGE = re.compile(r"envoy_cluster_upstream_rq_(?:active|pending_active)\{(?P<labels>[^}]*)\} (?P<value>\d+)")
_NAME = re.compile(r'envoy_cluster_name="([^"]*)"')
GAUGES = "stats/prometheus?filter=%5Ecluster%5C.httproute.*upstream_rq_%28active%7Cpending_active%29%24"
"""What to ask Envoy's stats port for."""


@dataclass
class Counted:
    """One revision's finished requests; `buckets` are those that it answered, by latency."""

    requests: int = 0
    failed: int = 0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BUCKETS_MS) + 1))

    def slow(self, slower_than_ms: float) -> int:
        """How many took longer than a bound of the buckets."""
        return sum(self.buckets[bisect_left(LATENCY_BUCKETS_MS, slower_than_ms) + 1 :])


class LogCounts:
    """Totals by host and revision; thread-safe."""

    def __init__(self) -> None:
        self._counted: dict[tuple[str, str], Counted] = {}
        self._lock = threading.Lock()

    def take(self, fields: Mapping[str, Any]) -> None:
        """Count one line of the access log; one that the gateway answered without a revision is nobody's."""
        host = str(fields.get("host") or "").partition(":")[0].removesuffix(SHADOW)
        revision = revision_of(fields)
        if not revision:
            return
        code, took = int(fields.get("code") or 0), fields.get("upstream_ms")
        with self._lock:
            counted = self._counted.setdefault((host, revision), Counted())
            counted.requests += 1
            counted.failed += code >= 400 or code == 0
            if isinstance(took, int | float):
                counted.buckets[bisect_left(LATENCY_BUCKETS_MS, float(took))] += 1

    def counts(self, host: str, slower_than_ms: float, active: Mapping[str, int]) -> list[RevisionCounts]:
        """The totals of one host's revisions; `active` are requests under way, by revision."""
        with self._lock:
            found = {revision: counted for (of, revision), counted in self._counted.items() if of == host}
            return [
                RevisionCounts(
                    revision=revision,
                    requests=counted.requests,
                    failed=counted.failed,
                    slow=counted.slow(slower_than_ms),
                    timed=sum(counted.buckets),
                    routed=counted.requests + active.get(revision, 0),
                )
                for revision, counted in sorted(found.items())
            ]


def revision_of(fields: Mapping[str, Any]) -> str:
    """Who answered, or should have: the header that the route adds, else the cluster's name."""
    told = fields.get("revision")
    if told and told != "-":
        return str(told)
    return revision_of_cluster(str(fields.get("cluster") or ""))[2]


def active_requests(page: str, namespace: str, service: str) -> dict[str, int]:
    """Requests under way by revision, from Envoy's Prometheus page."""
    active: dict[str, int] = {}
    for gauge in _GAUGE.finditer(page):
        name = _NAME.search(gauge["labels"])
        of, routed, revision = revision_of_cluster(name[1]) if name else ("", "", "")
        if (of, routed) == (namespace, service) and revision:
            active[revision] = active.get(revision, 0) + int(gauge["value"])
    return active
