"""Envoy as the gateway of a rehearsal: its access log, its counters and its files that are watched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.components.component import Component
from harness.components.files import replace_text
from harness.components.gateway import IMAGE, MAX_REQUEST_BYTES, gateway
from harness.containers.recipe import RecipeContainer


class EnvoyContainer(RecipeContainer):
    """Envoy whose routes, clusters and endpoints come from files: no restart, and no request is lost in a change.

    It answers 404 to every host until it is told of one:

        with EnvoyContainer() as envoy:
            envoy.put("xds/rds/rds.json", routes)   # as Envoy's RDS takes them
            httpx.get(envoy.get_connection_url(), headers={"host": "churn.example"})
    """

    def __init__(self, image: str = IMAGE, **kwargs: Any) -> None:
        super().__init__(image, **kwargs)
        self._max_request_bytes = MAX_REQUEST_BYTES

    def with_max_request_bytes(self, most: int) -> EnvoyContainer:
        """Answer 413 to a request whose body is larger than this (default: 4 MiB)."""
        self._max_request_bytes = most
        return self

    def recipe(self) -> Component:
        return gateway(access_log="{folder}/access.jsonl", max_request_bytes=self._max_request_bytes, image=self.image)

    def put(self, name: str, text: str) -> None:
        """Replace one of the watched files, "xds/rds/rds.json" for instance, in one step; it takes milliseconds."""
        replace_text(self.folder / name, text, beside=self.folder)

    @property
    def access_log(self) -> Path:
        """The log of all requests, a JSON line each (fields: harness.components.gateway.ACCESS_FIELDS)."""
        return self.folder / "access.jsonl"

    def get_admin_url(self) -> str:
        """Envoy's admin interface: /stats, /clusters, /config_dump."""
        return self.get_url("admin")
