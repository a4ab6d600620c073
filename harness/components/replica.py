"""What a model server process is told: light data that crosses the process border as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

DRAIN_S = 20  # how long a server answers what it has accepted after SIGTERM


@dataclass(frozen=True)
class PayloadLog:
    """Where CloudEvents of requests and responses go, and what they say of their origin."""

    url: str
    mode: Literal["all", "request", "response"]
    service: str
    namespace: str
    component: str
    endpoint: str = ""
    revision: str = ""


@dataclass(frozen=True)
class Replica:
    """One process of a revision: the model's name in URLs, where it comes from, and where the address is told.

    Fetched model versions are kept in `models`, which the replicas of a run share. In a container the address is known
    before, so `host` is every interface and there is no ready file.
    `fault_file` is where a rehearsal may put a fault that the server is to commit (see harness.components.fault_hook).
    """

    model_name: str
    storage_uri: str
    models: str
    ready_file: str
    tracking_uri: str = ""
    fault_file: str = ""
    port: int = 0
    logger: PayloadLog | None = None
    host: str = "127.0.0.1"

    def config(self) -> dict[str, Any]:
        """JSON-able, for `serve`."""
        return asdict(self)


@dataclass(frozen=True)
class TransformerReplica:
    """One process of a transformer: the user's kserve.Model subclass in front of the weighted predictors."""

    model_name: str
    target: str
    gateway_url: str
    predictor_host: str
    folder: str
    ready_file: str
    protocol: Literal["v1", "v2"] = "v1"
    port: int = 0
    search_path: str = ""
    host: str = "127.0.0.1"

    def config(self) -> dict[str, Any]:
        """JSON-able, for `serve_transformer`."""
        return asdict(self)
