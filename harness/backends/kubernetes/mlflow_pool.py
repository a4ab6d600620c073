"""MLflow servers in the kind world: each run claims a warm one, with an empty database, and others are made ready.

A server takes seconds to get warm. The first run of a session has one made ready behind it; a session that has a second
run has more to come, and they may be short: from then on there are two.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.backends.kubernetes.manifests import fill, load
from harness.backends.kubernetes.runspace import Tracking, alias_document, label_of
from harness.backends.kubernetes.world import RUN_LABEL, SYSTEM
from harness.clients.kubernetes import rolled_out
from harness.errors import PlatformError, RequestFailed
from harness.runtime.clock import Deadline

if TYPE_CHECKING:
    from harness.clients.kubernetes import Kube

_DEPLOYMENT, _SERVICE = "apps/v1/Deployment", "v1/Service"
_APP = "app.kubernetes.io/name=mlflow"
_INSTANCE = "app.kubernetes.io/instance"
SPARE = "spare"
SPARES = 2
START_S = 120.0


class MlflowPool:
    """The servers of one cluster; several processes may use it at once, each claim goes to one of them."""

    def __init__(self, kube: Kube, templates: Path, ports: tuple[int, ...]) -> None:
        self.kube = kube
        self._templates = templates
        self._ports = ports
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="mlflow")
        self._filling: Future[None] | None = None
        self._claims = 0
        self._lock = threading.Lock()

    def prepare(self, deadline: Deadline) -> None:
        """Have a spare server, ready; safe to call again."""
        with self._lock:
            self._wait_for_spare(deadline)

    def claim(self, run_id: str, url: Callable[[int], str], deadline: Deadline) -> PooledMlflow:
        """A server that no other run has or had."""
        with self._lock:
            while True:
                spare = self._wait_for_spare(deadline)
                if self._take(spare, run_id):
                    break
            self._claims += 1
            self._filling = self._pool.submit(self._fill, min(self._claims, SPARES))
            return PooledMlflow(self, spare["metadata"]["labels"][_INSTANCE], url)

    def port(self, instance: str) -> int:
        """The NodePort of a server."""
        ports = self.kube.get(_SERVICE, f"mlflow-{instance}", SYSTEM)["spec"]["ports"]
        return int(ports[0]["nodePort"])

    def remove(self, instance: str) -> None:
        """End a server and drop its database; its artifacts go with the cluster."""
        self.kube.delete(_DEPLOYMENT, f"mlflow-{instance}", SYSTEM)
        self.kube.delete(_SERVICE, f"mlflow-{instance}", SYSTEM)
        self._sql(f'drop database if exists "mlflow_{instance}" with (force)')

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _wait_for_spare(self, deadline: Deadline) -> dict[str, Any]:
        """A spare that is ready: one that is, else the first that gets so, made if there is none at all."""
        spares = self._spares()
        if not spares and self._filling is not None:
            futures.wait([self._filling], timeout=deadline.remaining_s())  # if it failed, this one tries again
            spares = self._spares()
        if not spares:
            self._start()
            spares = self._spares()
        ready = next((spare for spare in spares if rolled_out(spare)), None)
        if ready is not None:
            return ready
        oldest = min(spares, key=lambda spare: str(spare["metadata"]["creationTimestamp"]))
        return self.kube.wait_rolled_out(_DEPLOYMENT, oldest["metadata"]["name"], SYSTEM, deadline)

    def _spares(self) -> list[dict[str, Any]]:
        return self.kube.list(_DEPLOYMENT, SYSTEM, labels=f"{_APP},{RUN_LABEL}={SPARE}")

    def _take(self, spare: dict[str, Any], run_id: str) -> bool:
        """Put the run's label on a spare; False if another run was faster."""
        metadata = spare["metadata"]
        if metadata["labels"].get(RUN_LABEL) != SPARE:
            return False
        labels = {"resourceVersion": metadata["resourceVersion"], "labels": {RUN_LABEL: label_of(run_id)}}
        try:
            self.kube.patch(_DEPLOYMENT, metadata["name"], {"metadata": labels}, SYSTEM)
        except RequestFailed as error:
            if error.status in (404, 409):
                return False
            raise
        return True

    def _fill(self, wanted: int) -> None:
        """Start spares, one after the other's start, until there are so many, or no port is free."""
        while len(self._spares()) < wanted and len(self.kube.list(_SERVICE, SYSTEM, labels=_APP)) < len(self._ports):
            self._start()

    def _start(self) -> None:
        instance = os.urandom(4).hex()
        self._sql(f'create database "mlflow_{instance}" template mlflow_template')
        service, deployment = fill(load(self._templates / "10-server.yaml"), {"id": instance})
        self._serve(service)
        deployment["metadata"]["labels"][RUN_LABEL] = SPARE
        self.kube.apply(deployment)

    def _serve(self, service: dict[str, Any]) -> None:
        """Apply the Service at the first NodePort that is free."""
        for port in self._ports:
            service["spec"]["ports"][0]["nodePort"] = port
            try:
                self.kube.apply(service)
            except RequestFailed as error:
                if error.status == 422 and "already allocated" in error.message:
                    continue
                raise
            return
        raise PlatformError(
            f"MLflow: all {len(self._ports)} servers of this cluster are in use", hint="run fewer tests at a time"
        )

    def _sql(self, statement: str) -> None:
        argv = ["bash", "-c", 'PGPASSWORD="$(cat /password/password)" exec "$0" "$@"']
        argv += ["/usr/lib/postgresql/15/bin/psql", "--host=127.0.0.1", "--username=postgres", "--command", statement]
        done = self.kube.exec("postgres-0", SYSTEM, argv)
        if done.code != 0:
            raise PlatformError(f"PostgreSQL refused {statement!r}: {done.stderr.strip()}")


class PooledMlflow(Tracking):
    """A run's claimed server."""

    def __init__(self, pool: MlflowPool, instance: str, url: Callable[[int], str]) -> None:
        self.instance = instance
        self._pool = pool
        self._url = url(pool.port(instance))

    def url(self) -> str:
        return self._url

    def alias(self, namespace: str) -> dict[str, Any]:
        return alias_document(namespace, f"mlflow-{self.instance}.{SYSTEM}.svc.cluster.local")

    def close(self) -> None:
        self._pool.remove(self.instance)


def leftovers(kube: Kube) -> list[tuple[str, str]]:
    """(kind, name) of what is left of servers that are no spares, once no run is there; their databases are small."""
    servers = kube.list(_DEPLOYMENT, SYSTEM, labels=_APP)
    spares = {each["metadata"]["name"] for each in servers if each["metadata"]["labels"].get(RUN_LABEL) == SPARE}
    found = [(_DEPLOYMENT, each["metadata"]["name"]) for each in servers]
    found += [(_SERVICE, each["metadata"]["name"]) for each in kube.list(_SERVICE, SYSTEM, labels=_APP)]
    return [(kind, name) for kind, name in found if name not in spares]
