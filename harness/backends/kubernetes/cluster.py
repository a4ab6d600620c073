"""A cluster that kind makes: pytest-kind's KindCluster with our kind program, node image, ports and network."""

from __future__ import annotations

import atexit
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest_kind
import yaml

from harness.backends.kubernetes import clusters
from harness.backends.kubernetes.clusters import ClusterState, Way
from harness.backends.kubernetes.docker import create_network, host_ports, image_id, is_pulled, runs
from harness.backends.kubernetes.port_forward import announced
from harness.backends.kubernetes.sweep import OWNER_LABEL, STATE_LABEL, delete, end_makers, remove
from harness.backends.kubernetes.world import MANAGED_BY, MANAGER
from harness.errors import PlatformError
from harness.runtime.clock import Deadline
from harness.runtime.identity import Identity
from harness.runtime.interrupts import held
from harness.runtime.owner import Owner
from harness.runtime.ports import LOOPBACK
from harness.runtime.process import launch
from harness.runtime.wait import wait

GATEWAY_PORT = 30080
KSERVE_GATEWAY_PORT = 30081
PROMETHEUS_PORT = 30082
MLFLOW_PORTS = tuple(range(30083, 30091))
ALERTMANAGER_PORT = 30091
NODE_PORTS = (GATEWAY_PORT, KSERVE_GATEWAY_PORT, PROMETHEUS_PORT, *MLFLOW_PORTS, ALERTMANAGER_PORT)
"""Each is reached from this machine, and from it alone, at a port that Docker chooses."""
STOP_S = 20.0
CREATE_S = 300.0
FORWARD_S = 20.0
_ENGINE_KNOWN = "https://kind.sigs.k8s.io/docs/user/known-issues/"


def kind_config(name: str, image: str, *, own_cni: bool) -> dict[str, Any]:
    """The configuration of a cluster; `own_cni`: the node image brings its network along, kind adds none."""
    mappings = [
        {"containerPort": port, "hostPort": -1, "listenAddress": "127.0.0.1", "protocol": "TCP"} for port in NODE_PORTS
    ]
    manager = {"kind": "ClusterConfiguration", "controllerManager": {"extraArgs": _MANAGER_ARGUMENTS}}
    # The access log is read from the Pods' logs: a rotation in the middle of a load would lose lines.
    kubelet = {"kind": "KubeletConfiguration", "containerLogMaxSize": "100Mi"}
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "name": name,
        "networking": {"apiServerAddress": "127.0.0.1", "podSubnet": "10.244.0.0/24", "disableDefaultCNI": own_cni},
        "nodes": [{"role": "control-plane", "image": image, "extraPortMappings": mappings}],
        "kubeadmConfigPatches": [yaml.safe_dump(manager), yaml.safe_dump(kubelet)],
    }


# A rehearsal of an autoscaler must not wait 5 minutes for the way down.
_MANAGER_ARGUMENTS = {
    "horizontal-pod-autoscaler-sync-period": "5s",
    "horizontal-pod-autoscaler-downscale-stabilization": "30s",
}


class Cluster(pytest_kind.KindCluster):
    """One kind cluster; `kubectl` and `load_docker_image` are pytest-kind's.

    What differs: the programs and images are ours and are never downloaded on the way, everything listens on the
    loopback address at ports that are free, it has a network of its own, and an interrupted creation leaves nothing.
    """

    def __init__(self, name: str, *, image: str, kind: Path, kubectl: Path) -> None:
        # Not super().__init__, which makes a folder .pytest-kind in the current one.
        self.name = name
        self.image = image
        self.path = clusters.folder()
        self.kubeconfig_path = clusters.kubeconfig(name)
        self.kind_path = kind
        self.kubectl_path = kubectl
        self.platform = "linux"
        self._api: Any = None

    @property
    def context(self) -> str:
        return f"kind-{self.name}"

    @property
    def api(self) -> Any:
        """The client of pytest-kind's users, pykube's."""
        import pykube

        if self._api is None:
            self._api = pykube.HTTPClient(pykube.KubeConfig.from_file(self.kubeconfig_path))
        return self._api

    @property
    def node(self) -> str:
        return f"{self.name}-control-plane"

    def ensure_kind(self) -> None:
        """Nothing to download."""

    def ensure_kubectl(self) -> None:
        """Nothing to download."""

    def port(self, node_port: int) -> int:
        """The port of this machine's loopback address that a NodePort is reached at."""
        return host_ports(self.node)[node_port]

    @contextmanager
    def port_forward(
        self, service_or_pod_name: str, remote_port: int, *args: str, local_port: int | None = None, retries: int = 0
    ) -> Iterator[int]:
        """A port of the loopback address that leads to one of a Service or a Pod while the block lasts.

        `args` go to kubectl, as "-n", "kube-system". pytest-kind's own takes ten seconds, and a port that others may
        have; here kubectl takes one that is free, so that `retries` says nothing.
        """
        argv = [str(self.kubectl_path), "port-forward", "--address", LOOPBACK, service_or_pod_name]
        argv += [f"{local_port or ''}:{remote_port}", *args]
        with tempfile.TemporaryDirectory(prefix="forward-") as folder:
            env = {**os.environ, "KUBECONFIG": str(self.kubeconfig_path)}
            child = launch("port-forward", argv, log=Path(folder) / "log", env=env)
            what = f"port {remote_port} of {service_or_pod_name}"
            try:
                yield wait(lambda: announced(child.tail()), what=what, deadline=Deadline.after(FORWARD_S), child=child)
            finally:
                child.stop()

    def create(self, config_file: str | Path | None = None, *, deadline: Deadline | None = None) -> None:
        """Make the cluster; PlatformError with what kind said, in a line."""
        deadline = deadline or Deadline.after(CREATE_S)
        config = Path(config_file) if config_file else self._write_config()
        self._create_network()
        env = {**os.environ, "KIND_EXPERIMENTAL_DOCKER_NETWORK": self.name, "KUBECONFIG": str(self.kubeconfig_path)}
        argv = [str(self.kind_path), "create", "cluster", "--name", self.name, "--config", str(config)]
        argv += ["--kubeconfig", str(self.kubeconfig_path), "--wait", "0s"]
        child = launch("kind", argv, log=self.log, env=env)
        try:
            wait(lambda: child.poll() is not None, what="kind create cluster", deadline=deadline, every_s=0.05)
        finally:
            end_makers(self.name)
            child.wait(STOP_S)
        if child.poll() != 0:
            raise PlatformError(creation_failure(child.tail(40)), hint=f"kind's log: {self.log}")

    @property
    def log(self) -> Path:
        return clusters.kind_log(self.name)

    def healthy(self) -> bool:
        """Whether its node runs and its API server answers."""
        return runs(self.node) and self.kubeconfig_path.exists() and self._answers()

    def delete(self) -> None:
        """Remove the cluster, whatever there is of it, with its network."""
        delete(self.name)

    def _answers(self) -> bool:
        try:
            return "ok" in self.kubectl("get", "--raw", "/readyz", "--request-timeout=3s", timeout=10)
        except (subprocess.SubprocessError, OSError):
            return False

    def _write_config(self) -> Path:
        path = clusters.kind_config(self.name)
        config = kind_config(self.name, self.image, own_cni=not is_pulled(self.image))
        path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        return path

    def _create_network(self) -> None:
        labels = {
            MANAGED_BY: MANAGER,
            OWNER_LABEL: str(Owner.me()),
            STATE_LABEL: str(clusters.folder() / f"{self.name}.json"),
        }
        create_network(self.name, labels)


def acquire(
    cluster: Cluster,
    *,
    keep: bool,
    reuse: bool,
    deadline: Deadline,
    revive: Callable[[], None] = lambda: None,
    told: Callable[[str], None] = lambda message: None,
) -> None:
    """Have the cluster for this process: take it if another made it, else make it; undone if it is interrupted.

    `revive` ends what dead sessions left in one that nobody uses; `told` hears why one is removed.
    """
    me, image = Identity.of(os.getpid()), image_id(cluster.image)
    with clusters.locked(cluster.name, deadline):
        state = clusters.read(cluster.name)
        chosen, why = clusters.way(state, image, reuse=reuse)
        if state is not None and chosen is not Way.MAKE:
            if cluster.healthy():
                clusters.write(state.used_by(me, kept=keep or reuse))
                if chosen is Way.REVIVE:
                    revive()
                return
            why = "its API server does not answer"
        if why:
            told(f"removing the one that is there: {why}")
        cluster.delete()
        state = ClusterState(cluster.name, kept=keep or reuse, users=(me,), image=image)
        clusters.write(state)
        atexit.register(release, cluster)  # for an interruption before the session knows that it has a cluster
        try:
            cluster.create(deadline=deadline)
        except BaseException:
            with held():
                remove(cluster.name)
            raise
        clusters.write(replace(state, ready=True))


def release(cluster: Cluster) -> None:
    """Leave the cluster; the last to leave deletes it unless it is kept."""
    with held(), clusters.locked(cluster.name, Deadline.after(STOP_S)):
        state = clusters.read(cluster.name)
        if state is None:
            return
        left = state.left_by(Identity.of(os.getpid()))
        if left.abandoned():
            remove(cluster.name)
        else:
            clusters.write(left)


def creation_failure(log: str) -> str:
    """Why kind could not make a cluster, in one line."""
    known = {
        "port is already allocated": "a port that it publishes is taken by another program",
        "address already in use": "a port that it publishes is taken by another program",
        "operation not permitted": f"Docker may not run privileged containers here ({_ENGINE_KNOWN})",
        "no space left on device": "the disk is full",
        "too many open files": f"too many open files ({_ENGINE_KNOWN}#pod-errors-due-to-too-many-open-files)",
    }
    for text, why in known.items():
        if text in log:
            return f"kind create cluster: {why}"
    errors = [line for line in log.splitlines() if "ERROR" in line or "rror:" in line]
    return f"kind create cluster: {(errors or log.splitlines() or ['it said nothing'])[-1].strip()}"
