"""What a cluster is to the backend: a world that has the platform's parts, and a space in it for each run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from harness.backends.assignment import PREFIX
from harness.backends.backend import Capability, Part
from harness.backends.node import NodeOptions
from harness.report.record import ComponentRecord
from harness.runtime.clock import Deadline

if TYPE_CHECKING:
    from harness.clients.kubernetes import Kube

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "rehearsal"
RUN_LABEL = f"{PREFIX}run"
OWNER = f"{PREFIX}owner"
"""An annotation of what a run made first: the process that made it, as harness.runtime.owner has it."""
LOGICAL_LABEL = f"{PREFIX}namespace"
"""On a physical namespace: what scenarios call it."""
SYSTEM = "rehearsal-system"
GATEWAY = "rehearsal"
"""The Gateway that the traffic router hangs its routes on."""
MLFLOW_SERVICE = "mlflow"
"""In every namespace of a run: the Service of the run's MLflow server, http://mlflow:5000."""
MLFLOW_PORT = 5000


@dataclass(frozen=True)
class WorldOptions:
    """What a user says of the world that scenarios run in; `namespaces` maps logical names to those of the cluster."""

    backend: str = "embedded"
    context: str | None = None
    kubeconfig: Path | None = None
    namespaces: Mapping[str, str] = field(default_factory=dict)
    install: bool = False
    reuse: bool = False
    keep: bool = False
    allow_remote: bool = False
    node: NodeOptions = field(default_factory=NodeOptions)
    image_prefix: str = ""
    """Where a cluster's own registry has our images: registry.example/ml; "" for their own names."""


@dataclass(frozen=True)
class GatewayRef:
    """The Gateway that routes hang on."""

    namespace: str
    name: str = GATEWAY


def run_labels(run_id: str) -> dict[str, str]:
    """The labels of everything that a run makes."""
    return {MANAGED_BY: MANAGER, RUN_LABEL: run_id}


class RunSpace(Protocol):
    """A run's namespaces and its registry; a context manager whose end deletes what the run made."""

    run_id: str

    @property
    def tracking_uri(self) -> str:
        """The run's own MLflow server, from this machine."""
        ...

    @property
    def gateway(self) -> GatewayRef: ...

    @property
    def gateway_url(self) -> str:
        """Where requests go from this machine, with the service's host name in the Host header."""
        ...

    @property
    def prometheus_url(self) -> str:
        """From this machine; CapabilityMissing where there is none."""
        ...

    @property
    def alertmanager_url(self) -> str:
        """From this machine; CapabilityMissing where there is none."""
        ...

    def namespace(self, logical: str) -> str:
        """The namespace of the cluster that this run has for a logical one; made when first asked for."""
        ...

    def namespaces(self) -> dict[str, str]:
        """The namespaces that there are so far: logical -> of the cluster."""
        ...

    def close(self) -> None:
        """Delete what the run made; safe to call twice."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class World(Protocol):
    """A cluster with the platform's shared parts; shared by the runs of a session."""

    name: str
    kube: Kube
    system: str
    """The namespace of the shared parts."""

    @property
    def leaves_machine(self) -> str:
        """Where load would go to beyond this machine, without leave; "" if it may."""
        ...

    def missing(self) -> dict[Capability, str]:
        """The capabilities that this cluster lacks, each with its reason and how to get it."""
        ...

    def ensure(self, part: Part, deadline: Deadline) -> None:
        """Have what a part needs: kind installs it, a foreign cluster is looked at; safe to call from threads."""
        ...

    def open_run(self, run_id: str, deadline: Deadline) -> RunSpace:
        """A fresh space for one run; the parts that it uses must have been ensured, tracking for `tracking_uri`."""
        ...

    @property
    def kserve_gateway_url(self) -> str:
        """Where KServe's own gateway is reached from this machine; CapabilityMissing where there is none."""
        ...

    @property
    def image_prefix(self) -> str:
        """The registry that this cluster has our images from; "" for their own names."""
        ...

    def components(self) -> list[ComponentRecord]:
        """The shared parts: their versions, how long each took until ready, and where they are reached."""
        ...

    def close(self) -> None:
        """End what belongs to the session: port-forwards, and the cluster unless it is kept."""
        ...
