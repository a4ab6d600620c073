"""The kind world: a cluster for the session, with as much of the platform as the scenarios use."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from harness import images
from harness.backends.backend import Capability, Part
from harness.backends.kubernetes import cluster as kind_cluster
from harness.backends.kubernetes import clusters
from harness.backends.kubernetes.cluster import Cluster
from harness.backends.kubernetes.install import Installer, Told, prepare
from harness.backends.kubernetes.manifests import NEEDED, components
from harness.backends.kubernetes.mend import mend
from harness.backends.kubernetes.metrics import prometheus_values
from harness.backends.kubernetes.mlflow_pool import MlflowPool
from harness.backends.kubernetes.runspace import Space, short
from harness.backends.kubernetes.world import SYSTEM, GatewayRef, WorldOptions
from harness.clients.kubernetes import Kube
from harness.errors import RequestFailed
from harness.images.engine import require_engine, require_room
from harness.report.record import ComponentRecord
from harness.runtime.clock import Deadline
from harness.runtime.interrupts import held
from harness.runtime.paths import data_folder
from harness.runtime.ports import LOOPBACK
from harness.runtime.wait import wait

START_S = 300.0


def make_cluster(name: str, *, image: str = "") -> Cluster:
    """A handle on the cluster of this name, which need not be there; `image`: what its node is made of."""
    return Cluster(name, image=image, kind=images.program("kind"), kubectl=images.program("kubectl"))


class KindWorld:
    """One cluster, shared by the platforms of a session; made when opened, deleted by its last user's `close`."""

    name = "kind"
    system = SYSTEM
    leaves_machine = ""
    image_prefix = ""

    def __init__(self, cluster: Cluster, told: Told = lambda name, message: None) -> None:
        self.cluster = cluster
        self.kube = Kube.connect(cluster.kubeconfig_path, cluster.context)
        self._told = told
        folder = data_folder("manifests") / "system"
        self._installer = Installer(self.kube, components(folder), images.bundle, values=prometheus_values(), told=told)
        self._mlflow = MlflowPool(self.kube, folder / "mlflow" / "instance", kind_cluster.MLFLOW_PORTS)
        self._alone = _Alone(f"{cluster.name}.install")
        self._records: list[ComponentRecord] = []
        self._closed = False

    @classmethod
    def open(
        cls, options: WorldOptions, told: Told = lambda name, message: None, *, deadline: Deadline | None = None
    ) -> KindWorld:
        """Make the session's cluster, or take the one that there is.

        Errors: CapabilityMissing for Docker, memory, disk, programs and images, each with how to get it.
        """
        deadline = deadline or Deadline.after(START_S)
        image = cls.require()
        cluster = make_cluster(clusters.session_name(options.reuse, options.keep), image=image)
        began = time.monotonic()

        def revive() -> None:
            with Kube.connect(cluster.kubeconfig_path, cluster.context) as kube:
                for done in mend(kube):
                    told("cluster", done)

        kind_cluster.acquire(
            cluster,
            keep=options.keep,
            reuse=options.reuse,
            deadline=deadline,
            revive=revive,
            told=lambda message: told("cluster", message),
        )
        try:
            world = cls(cluster, told)
            world._settle(time.monotonic() - began, deadline)
        except BaseException:
            kind_cluster.release(cluster)
            raise
        return world

    @staticmethod
    def require() -> str:
        """The node's image; CapabilityMissing for what this machine lacks, before anything is made."""
        require_room(require_engine())
        for program in ("kind", "kubectl"):
            images.program(program)
        return images.node_image()

    def missing(self) -> dict[Capability, str]:
        return {}

    def ensure(self, part: Part, deadline: Deadline) -> None:
        self.install(NEEDED[part], deadline)
        if part is Part.TRACKING:
            self._mlflow.prepare(deadline)

    def install(self, names: Iterable[str], deadline: Deadline) -> None:
        """Have components of manifests/system, and what they need, serve; what is there already costs nothing."""
        with self._alone.held(deadline):
            self._installer.install(names, deadline)

    def open_run(self, run_id: str, deadline: Deadline) -> Space:
        url = self._url
        return Space(
            self.kube,
            run_id,
            physical=lambda logical: f"{logical[:54]}-{short(run_id)}",
            makes_namespaces=True,
            gateway=GatewayRef(SYSTEM),
            gateway_url=lambda: url(kind_cluster.GATEWAY_PORT),
            prometheus_url=lambda: url(kind_cluster.PROMETHEUS_PORT),
            alertmanager_url=lambda: url(kind_cluster.ALERTMANAGER_PORT),
            tracking=self._mlflow.claim(run_id, url, deadline),
        )

    @property
    def kserve_gateway_url(self) -> str:
        return self._url(kind_cluster.KSERVE_GATEWAY_PORT)

    def components(self) -> list[ComponentRecord]:
        return [*self._records, *self._installer.records.values()]

    def close(self) -> None:
        """Stop what is being installed; the last user's end deletes the cluster, unless it is kept."""
        if self._closed:
            return
        self._closed = True
        with held(), ExitStack() as ending:  # each goes on after an error of the one before
            ending.callback(kind_cluster.release, self.cluster)
            ending.callback(self.kube.close)
            ending.callback(self._mlflow.close)
            self._installer.stop()

    def _url(self, node_port: int) -> str:
        return f"http://{LOOPBACK}:{self.cluster.port(node_port)}"

    def _settle(self, made_s: float, deadline: Deadline) -> None:
        """Wait until the API server serves, and prepare for what is installed."""
        wait(self._version, what="the cluster's API server", deadline=deadline, every_s=0.2)
        prepare(self.kube, deadline)
        version = self.kube.version()
        self._records.append(ComponentRecord(name="cluster", version=version, ready_s=made_s))
        self._told("cluster", f"{self.cluster.name} ({version}) in {made_s:.1f} s")

    def _version(self) -> str:
        try:
            return self.kube.version()
        except RequestFailed as error:
            if error.status is not None and error.status < 500:
                raise
            return ""


class _Alone:
    """A lock between processes that the threads of this one share."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._guard = threading.Lock()
        self._users = 0
        self._context = ExitStack()

    @contextmanager
    def held(self, deadline: Deadline) -> Iterator[None]:
        with self._guard:
            if not self._users:
                self._context.enter_context(clusters.locked(self._name, deadline))
            self._users += 1
        try:
            yield
        finally:
            with self._guard:
                self._users -= 1
                if not self._users:
                    self._context.close()
