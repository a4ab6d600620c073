"""KServe's model server for one model, and the collector of what model servers answered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from harness.components import collector, model_server
from harness.components.component import EVERY_INTERFACE, Component
from harness.components.replica import PayloadLog, Replica
from harness.containers.recipe import RecipeContainer
from harness.errors import UsageError

_MODEL = "/mnt/models"
_FETCHED = "/tmp/models"


class ModelServerContainer(RecipeContainer):
    """A KServe model server that answers V1 and V2 for a scikit-learn model, or whatever MLflow's pyfunc loads.

        with ModelServerContainer("churn").with_model(Path("model")) as server:
            httpx.post(server.get_predict_url(), json={"instances": [[0.1, 0.2]]})

    The model is a folder with an MLmodel file, or a version in an MLflow that it reaches over its network.
    """

    def __init__(self, model_name: str, image: str = model_server.IMAGE, **kwargs: Any) -> None:
        super().__init__(image, **kwargs)
        self.model_name = model_name
        self._replica = Replica(
            model_name=model_name, storage_uri="", models=_FETCHED, ready_file="", host=EVERY_INTERFACE,
            port=model_server.PORT, fault_file="{folder}/fault.json",
        )  # fmt: skip

    def with_model(self, folder: Path) -> Self:
        """Serve the model that lies in this folder. Errors: UsageError if that is none."""
        if not (folder / "MLmodel").is_file():
            raise UsageError(f"model {folder}: there is no MLmodel file in it")
        self.with_volume_mapping(folder.absolute(), _MODEL)
        self._replica = replace(self._replica, storage_uri=_MODEL)
        return self

    def with_model_version(self, name: str, version: int | str, tracking_uri: str) -> Self:
        """Serve a registered version; `tracking_uri` as the container sees it (MLflowContainer.get_network_url)."""
        uri = f"models:/{name}/{version}"
        self._replica = replace(self._replica, storage_uri=uri, tracking_uri=tracking_uri)
        return self

    def with_logger(self, settings: PayloadLog) -> Self:
        """Send requests and responses as CloudEvents, as KServe's agent does."""
        self._replica = replace(self._replica, logger=settings)
        return self

    def recipe(self) -> Component:
        if not self._replica.storage_uri:
            raise UsageError(f"model server {self.model_name}: no model", hint="with_model or with_model_version")
        return model_server.model_server(self._replica, image=self.image)

    def get_predict_url(self, protocol: str = "v1") -> str:
        """Where predictions are asked for from this machine, by the protocol "v1" or "v2"."""
        path = f"v1/models/{self.model_name}:predict" if protocol == "v1" else f"v2/models/{self.model_name}/infer"
        return f"{self.get_url()}/{path}"


class CollectorContainer(RecipeContainer):
    """Takes the CloudEvents of payload loggers and keeps totals of two revisions' answers (see the component)."""

    def __init__(self, image: str = collector.IMAGE, **kwargs: Any) -> None:
        super().__init__(image, **kwargs)

    def recipe(self) -> Component:
        return collector.collector(self.image)

    def get_events_url(self, comparison: collector.Comparison, revision: str) -> str:
        """Where the logger of a revision sends its events, from inside of the network."""
        return self.get_network_url() + comparison.path(revision)
