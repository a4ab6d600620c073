"""What is collected of a real cluster when a run fails: the first cause, its next command, files without secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.backends.kubernetes.backend import KubernetesBackend
from harness.backends.kubernetes.diagnostics.collect import collect
from harness.clients.kubernetes import Kube
from harness.errors import CapabilityMissing, StepFailed
from harness.platform import Platform
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait
from tests.kubernetes.access_lab import with_token

PAUSE = "registry.k8s.io/pause:3.10.1"
SECRET = "correct-horse-battery"
START_S = 60.0
_SAFE = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


@pytest.fixture
def cluster(platform: Platform) -> KubernetesBackend:
    """The platform's backend, which must be one of a cluster."""
    if not isinstance(platform.backend, KubernetesBackend):
        raise CapabilityMissing("a cluster", hint="pytest --backend kind")
    return platform.backend


def pod(name: str, namespace: str, *, image: str = PAUSE, **container: Any) -> dict[str, Any]:
    """A Pod of one container, as Pod Security `restricted` wants it; an image that is not there is not pulled."""
    main = {"name": "main", "image": image, "imagePullPolicy": "Never", "securityContext": _SAFE, **container}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [main]}}


def _waits_for_its_image(found: dict[str, Any]) -> bool:
    statuses = found.get("status", {}).get("containerStatuses") or [{}]
    return "ErrImageNeverPull" in str(statuses[0].get("state"))


def settled(kube: Kube, namespace: str, reasons: set[str]) -> None:
    """Wait until the namespace's events have all these reasons."""
    wait(
        lambda: reasons <= {event["reason"] for event in kube.list("v1/Event", namespace)},
        what=f"events {', '.join(sorted(reasons))}",
        deadline=Deadline.after(START_S),
        state=lambda: ", ".join(sorted({event["reason"] for event in kube.list("v1/Event", namespace)})),
        every_s=0.25,
    )


def test_what_breaks_in_a_namespace_is_named_with_its_cause_and_without_its_secrets(
    cluster: KubernetesBackend,
) -> None:
    """A missing image, a Pod that no node takes, a missing Secret, a probe that fails, a quota: each by its word."""
    kube, namespace = cluster.world.kube, cluster.namespace("production")
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db", "namespace": namespace}}
    kube.apply({**secret, "stringData": {"password": SECRET}})
    password = {"name": "DB_PASSWORD", "value": SECRET}
    for document in (
        pod("absent", namespace, image="rehearsal/no-such:1", env=[password]),
        pod("big", namespace, resources={"requests": {"cpu": "500"}}),
        pod("unset", namespace, env=[{"name": "X", "valueFrom": {"secretKeyRef": {"name": "none", "key": "k"}}}]),
        pod("probed", namespace, readinessProbe={"httpGet": {"port": 1}, "periodSeconds": 1}),
        pod("well", namespace, env=[{"name": "Y", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}]),
    ):
        kube.apply(document, deadline=Deadline.after(START_S))
    settled(kube, namespace, {"ErrImageNeverPull", "FailedScheduling", "Failed", "Unhealthy"})

    found = {each.object: each for each in cluster.diagnose() if each.namespace == namespace}

    assert {each.reason for each in found.values()} >= {"ErrImagePull", "FailedScheduling", "Unhealthy"}
    assert "rehearsal/no-such:1" in found["pod/absent"].words
    assert "Insufficient cpu" in found["pod/big"].words
    assert 'secret "none" not found' in found["pod/unset"].words
    assert "pod/well" not in found
    root = cluster.folder / "diagnostics"
    assert (cluster.folder / found["pod/absent"].file).is_file()
    assert SECRET not in "".join(path.read_text(errors="replace") for path in root.rglob("*") if path.is_file())
    assert (root / "index.md").read_text().count("](") > 10


def test_the_gateways_own_configuration_is_among_it(cluster: KubernetesBackend) -> None:
    """From the admin port that only Envoy's Pod can see; without the part that holds keys."""
    assert cluster.gateway_url

    cluster.diagnose()

    dumps = list((cluster.folder / "diagnostics").rglob("envoy/*.config.json"))
    assert dumps
    assert "RoutesConfigDump" in dumps[0].read_text() or "ListenersConfigDump" in dumps[0].read_text()
    assert "SecretsConfigDump" not in "".join(path.read_text() for path in dumps)


def test_the_report_of_a_failed_run_leads_with_the_clusters_word(
    platform: Platform, cluster: KubernetesBackend
) -> None:
    """As the platform ends; the page names the cause, the next command, and links what was collected."""
    from harness.run import Run

    kube, namespace = cluster.world.kube, cluster.namespace("production")
    kube.apply(pod("absent", namespace, image="rehearsal/no-such:1"), deadline=Deadline.after(START_S))
    settled(kube, namespace, {"ErrImageNeverPull"})
    run = Run(cluster.folder / "inner", title="A run that fails", backend=cluster.name)
    with pytest.raises(StepFailed), run, _Borrowed(cluster, run):
        raise StepFailed("the canary did not come")

    page = (cluster.folder / "inner" / "index.html").read_text()
    assert "Most likely: the image rehearsal/no-such:1 of pod/absent cannot be pulled" in page
    assert "rehearse images list" in page
    assert 'id="cluster"' in page


class _Borrowed(Platform):
    """A platform over a backend that goes on after it."""

    def close(self) -> None:
        """The backend is another platform's."""


def test_a_role_that_may_read_little_gets_that_and_the_verbs_that_it_lacks(
    cluster: KubernetesBackend, tmp_path: Path
) -> None:
    """Nothing fails because of what may not be read."""
    kube, namespace = cluster.world.kube, cluster.namespace("production")
    group = "rbac.authorization.k8s.io"
    where = {"name": "looker", "namespace": namespace}
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]
    kube.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": where})
    kube.apply({"apiVersion": f"{group}/v1", "kind": "Role", "metadata": where, "rules": rules})
    subject = {"kind": "ServiceAccount", **where}
    binding = {"subjects": [subject], "roleRef": {"apiGroup": group, "kind": "Role", "name": "looker"}}
    kube.apply({"apiVersion": f"{group}/v1", "kind": "RoleBinding", "metadata": where, **binding})
    kube.apply(pod("absent", namespace, image="rehearsal/no-such:1"), deadline=Deadline.after(START_S))
    kube.wait_for("v1/Pod", "absent", namespace, _waits_for_its_image, what="absent", deadline=Deadline.after(START_S))

    with with_token(kube, namespace, "looker") as looker:
        found = collect(looker, tmp_path / "diagnostics", namespaces=[namespace])

    assert [each.reason for each in found.findings] == ["ErrImageNeverPull"], found.missed
    assert any("Not allowed: get events" in each for each in found.missed)
    assert not any("secrets" in each for each in found.missed)
