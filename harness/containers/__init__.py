"""The components of a rehearsal as containers, each usable alone, by the conventions of testcontainers.

    from harness.containers import MLflowContainer

    with MLflowContainer() as server:
        mlflow.set_tracking_uri(server.get_tracking_uri())

Options are `with_*` and return the container, `start` returns it ready, `stop` or the end of `with` leaves nothing.
"""

from __future__ import annotations

try:
    import testcontainers  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError("harness.containers needs testcontainers: pip install 'rehearsal[containers]'") from error

from harness.containers.envoy import EnvoyContainer
from harness.containers.feast import FeastContainer
from harness.containers.grafana import GrafanaContainer
from harness.containers.mlflow import MLflowContainer, PostgresContainer
from harness.containers.model_server import CollectorContainer, ModelServerContainer
from harness.containers.prometheus import AlertmanagerContainer, PrometheusContainer
from harness.containers.recipe import ComponentContainer, RecipeContainer

__all__ = [
    "AlertmanagerContainer", "CollectorContainer", "ComponentContainer", "EnvoyContainer", "FeastContainer",
    "GrafanaContainer", "MLflowContainer", "ModelServerContainer", "PostgresContainer", "PrometheusContainer",
    "RecipeContainer",
]  # fmt: skip
