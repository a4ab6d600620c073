"""Prometheus with the recording rules of a rehearsal, and Alertmanager."""

from __future__ import annotations

from typing import Any, Self

from harness.clients.promql import PromQL
from harness.components import alertmanager, prometheus
from harness.components.component import Component
from harness.containers.recipe import RecipeContainer


class PrometheusContainer(RecipeContainer):
    """Prometheus; with an Envoy to scrape it has the series rehearsal:… of every service and revision.

    with PrometheusContainer().with_network(network).with_envoy("envoy:9901") as prometheus:
        prometheus.query('rehearsal:requests:total')
    """

    def __init__(self, image: str = prometheus.IMAGE, **kwargs: Any) -> None:
        super().__init__(image, **kwargs)
        self._envoy = ""

    def with_envoy(self, admin: str) -> Self:
        """Scrape Envoy at this address of the network: "host:port" of its admin interface."""
        self._envoy = admin
        return self

    def recipe(self) -> Component:
        return prometheus.prometheus(self._envoy, image=self.image)

    def query(self, promql: str) -> dict[str, float]:
        """The value of an instant query, by series. Errors: RequestFailed."""
        with PromQL(self.get_url()) as asked:
            return asked.query(promql)


class AlertmanagerContainer(RecipeContainer):
    """Alertmanager, which keeps the alerts for whoever asks at /api/v2/alerts and notifies nobody."""

    def __init__(self, image: str = alertmanager.IMAGE, **kwargs: Any) -> None:
        super().__init__(image, **kwargs)

    def recipe(self) -> Component:
        return alertmanager.alertmanager(image=self.image)
