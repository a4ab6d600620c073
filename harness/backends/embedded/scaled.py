"""What the autoscaler is shown of the revisions that it scales."""

from __future__ import annotations

from dataclasses import dataclass

from harness.backends.embedded import sizing
from harness.backends.embedded._service import Service
from harness.backends.embedded.routes import cluster_name
from harness.backends.node import NodeOptions
from harness.lifecycle.autoscaler import AutoscalerSpec
from harness.runtime.process import Child


@dataclass(frozen=True)
class ScaledReplica:
    """One replica that is not being given up; times on the monotonic clock, `unplaced` why it has no place."""

    number: int
    created: float
    ready_at: float | None
    child: Child | None
    unplaced: str


@dataclass(frozen=True)
class Scaled:
    """One revision now: what its autoscaler is told, the replicas asked for and those there are, and their requests."""

    namespace: str
    service: str
    revision: str
    host: str
    spec: AutoscalerSpec
    size: int
    replicas: tuple[ScaledReplica, ...]
    requests: tuple[tuple[str, float], ...]

    @property
    def key(self) -> tuple[str, str, str]:
        return self.namespace, self.service, self.revision

    @property
    def cluster(self) -> str:
        """The name under which the gateway counts its requests."""
        return cluster_name(*self.key)

    @property
    def ready(self) -> int:
        return sum(replica.ready_at is not None for replica in self.replicas)

    @property
    def blocked(self) -> list[str]:
        """Why replicas wait for a place."""
        return list(dict.fromkeys(replica.unplaced for replica in self.replicas if replica.unplaced))


def scaled_of(service: Service, options: NodeOptions) -> list[Scaled]:
    """The service's revisions that an autoscaler scales."""
    wanted = service.last_wanted
    workloads = {workload.name: workload for workload in (wanted.predictor, *wanted.canaries)}
    return [
        Scaled(
            *service.key,
            revision=revision,
            host=wanted.predictors_host,
            # Until it was ready once nobody knows whether it serves, and who applied it waits to be told.
            spec=spec if workloads[revision].key in service.proven else sizing.with_one(spec),
            size=service.sizes[revision],
            replicas=tuple(
                ScaledReplica(each.number, each.created, each.ready_at, each.child, each.unplaced)
                for each in service.replicas.values()
                if each.workload.name == revision
            ),
            requests=workloads[revision].requests,
        )
        for revision, spec in sizing.rules(service.document, options).items()
    ]
