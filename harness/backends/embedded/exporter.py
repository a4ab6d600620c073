"""What a platform of this machine tells Prometheus of itself: whether its registry answers, how often replicas died."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from harness.clients.http import client
from harness.components.metrics_server import MetricsServer
from harness.runtime.events import Event, EventLog

PROBE_S = 0.5
"""A registry that has not answered by then is down; Prometheus waits for a scrape no longer than a second."""


class Exporter:
    """Listens on a port of the loopback until `close`."""

    def __init__(self, events: EventLog, registry_url: Callable[[], str]) -> None:
        series = CollectorRegistry()
        self._restarts = Counter(
            "rehearsal_replica_restarts",
            "Replicas that died and are started again",
            ["namespace", "service", "revision"],
            registry=series,
        )
        series.register(_RegistryUp(registry_url))
        self._server = MetricsServer(series)
        events.listen(self._count)

    @property
    def address(self) -> str:
        """host:port of /metrics."""
        return self._server.address

    def close(self) -> None:
        self._server.close()

    def _count(self, event: Event) -> None:
        if event.kind == "replica.ready":  # so that the first death is an increase
            self._restarts.labels(*event.subject.split("/"), event.data["revision"])
        if event.kind == "replica.died":
            self._restarts.labels(*event.subject.split("/"), event.data["revision"]).inc()


class _RegistryUp(Collector):
    """Asks MLflow for its health at each scrape; says nothing while there is no registry."""

    def __init__(self, url: Callable[[], str]) -> None:
        self._url = url

    def collect(self) -> Iterator[Metric]:
        url = self._url()
        if url:
            up = GaugeMetricFamily("rehearsal_registry_up", "1 while MLflow's /health answers")
            up.add_metric([], float(_answers(url)))
            yield up


def _answers(url: str) -> bool:
    with client(url, timeout_s=PROBE_S) as http:
        try:
            return http.get("/health").status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False
