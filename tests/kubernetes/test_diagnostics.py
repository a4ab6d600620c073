"""What is collected of a real cluster when a run fails: the first cause, its next command, files without secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.backends.kubernetes.applied import workload_name
from harness.backends.kubernetes.backend import KubernetesBackend
from harness.backends.kubernetes.diagnostics.collect import collect
from harness.clients.kubernetes import Kube
from harness.errors import CapabilityMissing, StepFailed
from harness.lifecycle.dataset import Dataset
from harness.platform import Platform
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait
from harness.service import Service
from tests.kubernetes.access_lab import with_token

PAUSE = "registry.k8s.io/pause:3.10.1"
MODEL_SERVER = "rehearsal/model-server:0.1.0"
_HPA = "autoscaling/v2/HorizontalPodAutoscaler"
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


def crashing(namespace: str) -> dict[str, Any]:
    """A Pod whose container ends again and again."""
    command = ["python", "-c", "print('the last life said this'); raise SystemExit(3)"]
    return pod("crashing", namespace, image=MODEL_SERVER, command=command)


def autoscaler(service: Service) -> dict[str, Any]:
    """An HPA for the service's Pods."""
    name = workload_name(service.name, service.revision)
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "scales", "namespace": service.namespace},
        "spec": {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 2},
    }


def test_what_an_on_call_engineer_asks_for_is_there(
    cluster: KubernetesBackend, platform: Platform, high_utiliser: Dataset
) -> None:
    """Conditions of the service, its routes, the gateway, an autoscaler and the node; what a container last said."""
    service = platform.deploy(platform.train(high_utiliser, max_depth=2))
    kube, namespace = cluster.world.kube, service.namespace
    kube.apply_all([crashing(namespace), autoscaler(service)], deadline=Deadline.after(START_S))
    kube.wait_for(
        "v1/Pod", "crashing", namespace, _waits_after_a_crash, what="a crash", deadline=Deadline.after(START_S)
    )
    kube.wait_for(_HPA, "scales", namespace, _has_conditions, what="its conditions", deadline=Deadline.after(START_S))

    found = {each.object: each for each in cluster.diagnose()}

    root = cluster.folder / "diagnostics"
    assert "the last life said this" in (root / namespace / "logs/crashing.main.previous.log").read_text()
    assert "exit code 3" in found["pod/crashing"].words
    for path, words in {
        f"{namespace}/inferenceservice/{service.name}.txt": "PredictorReady",
        f"{namespace}/horizontalpodautoscaler/scales.txt": "AbleToScale",
        "rehearsal-system/gateway/rehearsal.txt": "Programmed",
        f"cluster/node/{_node(cluster)}.txt": "MemoryPressure",
    }.items():
        assert words in (root / path).read_text(), path
    routes = [path.read_text() for path in (root / namespace / "httproute").iterdir()]
    assert routes
    assert all("ResolvedRefs" in text for text in routes)


def _node(cluster: KubernetesBackend) -> str:
    return str(cluster.world.kube.list("v1/Node")[0]["metadata"]["name"])


def _waits_after_a_crash(found: dict[str, Any]) -> bool:
    """Before that, the log of its last life may be gone: the kubelet keeps that of one dead container."""
    return "CrashLoopBackOff" in str(found.get("status", {}).get("containerStatuses"))


def _has_conditions(found: dict[str, Any]) -> bool:
    return bool(found.get("status", {}).get("conditions"))


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
