"""Each revision's requests: those that are answered from the gateway's access log, those given to it from Envoy.

The access log has every request once, so its counts equal the ledger's; but a line comes later than its request. How
many requests a revision was given is what a split is judged by, and that must be so now: Envoy's counters say it for
each cluster, as long as the cluster is there. Envoy Gateway removes a cluster with the last use of it, so the router
has the totals read before it takes a route away. See docs/adr/0013-per-revision-counters.md for the measurement.
"""

from __future__ import annotations

import re
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.backends.kubernetes.access_log import is_traffic
from harness.backends.kubernetes.routes import revision_of_cluster
from harness.components.gateway import SHADOW
from harness.lifecycle.slo import LATENCY_BUCKETS_MS
from harness.report.record import RevisionCounts

_GIVEN = re.compile(
    r"envoy_cluster_upstream_rq_(?P<kind>active|pending_active|completed)\{(?P<labels>[^}]*)\} (?P<value>\d+)"
)
_NAME = re.compile(r'envoy_cluster_name="([^"]*)"')
GIVEN = "stats/prometheus?filter=%5Ecluster%5C.httproute.*upstream_rq_%28active%7Cpending_active%7Ccompleted%29%24"
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
        self._logged: Counter[str] = Counter()
        self._own: Counter[str] = Counter()
        self._given: dict[tuple[str, str], Given] = {}
        self._lock = threading.Lock()

    def take(self, fields: Mapping[str, Any]) -> None:
        """Count one line of the access log; one that the gateway answered without a revision is nobody's."""
        host = str(fields.get("host") or "").partition(":")[0].removesuffix(SHADOW)
        revision = revision_of(fields)
        if not revision:
            return
        with self._lock:
            self._logged[str(fields.get("cluster") or "")] += 1
        if not is_traffic(fields):  # a probe of the router: Envoy has counted it, and nobody else shall
            with self._lock:
                self._own[host] += 1
            return
        code, took = int(fields.get("code") or 0), fields.get("upstream_ms")
        with self._lock:
            counted = self._counted.setdefault((host, revision), Counted())
            counted.requests += 1
            counted.failed += code >= 400 or code == 0
            if isinstance(took, int | float):
                counted.buckets[bisect_left(LATENCY_BUCKETS_MS, float(took))] += 1

    def own(self, host: str) -> int:
        """How many probes of the router reached a revision of a host, by the log."""
        with self._lock:
            return self._own[host]

    def read(self, pages: Mapping[str, str]) -> None:
        """Take what the Envoys say now; `pages`: Pod -> its Prometheus page."""
        with self._lock:
            for pod, page in pages.items():
                for cluster, (under_way, completed) in given(page).items():
                    self._given.setdefault((pod, cluster), Given()).read(under_way, completed)

    def counts(self, namespace: str, service: str, host: str, slower_than_ms: float) -> list[RevisionCounts]:
        """The totals of one service's revisions."""
        with self._lock:
            found = {revision: counted for (of, revision), counted in self._counted.items() if of == host}
            ahead = self._ahead(namespace, service)
            return [
                RevisionCounts(
                    revision=revision,
                    requests=counted.requests,
                    failed=counted.failed,
                    slow=counted.slow(slower_than_ms),
                    timed=sum(counted.buckets),
                    routed=counted.requests + ahead[revision],
                )
                for revision in sorted(found.keys() | ahead.keys())
                for counted in [found.get(revision, Counted())]
            ]

    def _ahead(self, namespace: str, service: str) -> Counter[str]:
        """How many requests of each revision Envoy knows of that the log has no line for yet."""
        totals: Counter[str] = Counter()
        for (_, cluster), known in self._given.items():
            totals[cluster] += known.total
        ahead: Counter[str] = Counter()
        for cluster, total in totals.items():
            of, routed, revision = revision_of_cluster(cluster)
            if (of, routed) == (namespace, service) and revision:
                ahead[revision] += max(0, total - self._logged[cluster])
        return ahead


@dataclass
class Given:
    """One Envoy's total of one cluster; it begins anew when the cluster does."""

    before: int = 0
    last: int = 0
    completed: int = 0

    @property
    def total(self) -> int:
        return self.before + self.last

    def read(self, under_way: int, completed: int) -> None:
        """Take a reading; fewer completed ones are those of a new cluster under the old name.

        A page is no snapshot: a request may be in neither number, which is no reason to count it out.
        """
        if completed < self.completed:
            self.before += self.last
            self.last = 0
        self.completed = completed
        self.last = max(self.last, under_way + completed)


def revision_of(fields: Mapping[str, Any]) -> str:
    """Who answered, or should have: the header that the route adds, else the cluster's name."""
    told = fields.get("revision")
    if told and told != "-":
        return str(told)
    return revision_of_cluster(str(fields.get("cluster") or ""))[2]


def received(pages: Mapping[str, str], prefixes: tuple[str, ...]) -> dict[str, int]:
    """Requests under way and completed of each cluster whose name begins so, of all Envoys together."""
    totals: Counter[str] = Counter()
    for page in pages.values():
        for cluster, numbers in given(page).items():
            if cluster.startswith(prefixes):
                totals[cluster] += sum(numbers)
    return dict(totals)


def given(page: str) -> dict[str, tuple[int, int]]:
    """(requests under way, requests completed) of each cluster, from Envoy's Prometheus page."""
    totals: dict[str, tuple[int, int]] = {}
    for sample in _GIVEN.finditer(page):
        if name := _NAME.search(sample["labels"]):
            under_way, completed = totals.get(name[1], (0, 0))
            value = int(sample["value"])
            is_completed = sample["kind"] == "completed"
            totals[name[1]] = (under_way, completed + value) if is_completed else (under_way + value, completed)
    return totals
