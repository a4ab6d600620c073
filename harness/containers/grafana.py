"""Grafana over a Prometheus of the same network."""

from __future__ import annotations

from typing import Any, Self

from harness.components import grafana
from harness.components.component import Component
from harness.containers.recipe import RecipeContainer


class GrafanaContainer(RecipeContainer):
    """Grafana, where its image can be had: start raises CapabilityMissing, with the way to get it, where it cannot."""

    def __init__(self, image: str = grafana.IMAGE, **kwargs: Any) -> None:
        super().__init__(image, **kwargs)
        self._prometheus = ""

    def with_prometheus(self, url: str) -> Self:
        """Its data source, as the container sees it (PrometheusContainer.get_network_url)."""
        self._prometheus = url
        return self

    def recipe(self) -> Component:
        return grafana.grafana(self._prometheus, image=self.image)
