"""Our kind cluster as somebody else's: named by its context, with an administrator's credentials or a token's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness import Platform
from harness.backends.kubernetes import rehearsal_role
from harness.backends.kubernetes.cluster import Cluster
from harness.backends.kubernetes.world import WorldOptions
from harness.backends.session import open_backend
from harness.run import Run


@dataclass(frozen=True)
class Given:
    """What a team gives: the namespaces by their logical names, and the role's credentials."""

    cluster: Cluster
    namespaces: Mapping[str, str]
    kubeconfig: Path

    @property
    def restricted(self) -> WorldOptions:
        """Inside the namespaces, with the role alone; who may not read nodes cannot tell that the cluster is here."""
        context = rehearsal_role.NAME
        return WorldOptions(
            "kubernetes", context=context, kubeconfig=self.kubeconfig, namespaces=self.namespaces, allow_remote=True
        )


def options(cluster: Cluster, **chosen: object) -> WorldOptions:
    """The cluster by its context, as its administrator."""
    given: dict[str, object] = {"context": cluster.context, "kubeconfig": cluster.kubeconfig_path, **chosen}
    return WorldOptions("kubernetes", **given)  # type: ignore[arg-type]


def flags(world: WorldOptions, reports: Path) -> list[str]:
    """The same for the command line."""
    given = ["--backend", "kubernetes", "--context", str(world.context), "--kubeconfig", str(world.kubeconfig)]
    pairs = ",".join(f"{logical}={name}" for logical, name in world.namespaces.items())
    given += ["--namespaces", pairs] if pairs else []
    given += ["--allow-remote"] if world.allow_remote else []
    return [*given, "--reports", str(reports)]


def kubeconfig_of(cluster: Cluster, folder: Path, account: str, namespace: str) -> Path:
    """A kubeconfig whose context has the name of a service account, and nothing but its token."""
    path = folder / f"{account}.kubeconfig"
    path.write_text(cluster.kubeconfig_path.read_text())
    token = cluster.kubectl("create", "token", account, "--namespace", namespace, timeout=30).strip()
    for argv in (
        ("set-credentials", account, f"--token={token}"),
        ("set-context", account, f"--cluster={cluster.context}", f"--user={account}"),
        ("unset", f"users.{cluster.context}"),
    ):
        cluster.kubectl("config", "--kubeconfig", str(path), *argv, timeout=30)
    return path


@contextmanager
def platform_on(world: WorldOptions, folder: Path) -> Iterator[Platform]:
    """A platform of its own on the cluster."""
    run = Run(folder, title="A platform on a cluster of somebody's", backend=world.backend)
    with run, open_backend(world, folder, run.events) as backend, Platform(backend, run) as platform:
        yield platform


def namespace(name: str, logical: str, more: Mapping[str, str] | None = None) -> dict[str, object]:
    """A namespace that a team gives: as manifests/overlays make it, Pod Security restricted."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted", "rehearsal.dev/namespace": logical, **(more or {})}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
