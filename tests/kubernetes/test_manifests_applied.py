"""The manifests, as a real API server takes them: server-side dry runs, and what holds a namespace by them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from harness.clients.kubernetes import Kube
from harness.errors import AccessDenied, CapabilityMissing, WaitTimeout
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait
from tests.unit.manifest_files import MANIFESTS, OVERLAYS, Document, documents, rendered

_KNOWN_S, _COUNTED_S = 90.0, 5.0
_QUOTA = "v1/ResourceQuota"


@pytest.fixture(scope="module")
def kube(kind_cluster: Any, every_kind: bool) -> Iterator[Kube]:
    with Kube.connect(kind_cluster.kubeconfig_path, kind_cluster.context) as kube:
        yield kube


@pytest.fixture(scope="module")
def staging(kube: Kube) -> Iterator[str]:
    """A namespace of its own that has what staging has, but for the service."""
    name = f"applied-staging-{uuid.uuid4().hex[:8]}"
    [namespace] = documents(MANIFESTS / "overlays" / "staging" / "namespace.yaml")
    parts = ("base/limits.yaml", "base/service-account.yaml")
    try:
        kube.apply({**namespace, "metadata": {**namespace["metadata"], "name": name}})
        kube.apply_all(_moved(each, name) for part in parts for each in documents(MANIFESTS / part))
        wait(lambda: _counts(kube, name), what="the quota counts every kind", deadline=Deadline.after(_KNOWN_S))
        yield name
    finally:
        kube.delete("v1/Namespace", name)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_api_server_takes_an_overlay(kube: Kube, staging: str, overlay: str) -> None:
    """Each document of it, as rendered, through validation, defaults, admission and webhooks."""
    try:
        found = rendered(overlay)
    except CapabilityMissing as missing:  # a session with a cluster has kubectl: that is no skip
        pytest.fail(str(missing))
    taken = [kube.apply(_moved(each, staging), dry_run=True) for each in found if each["kind"] != "Namespace"]
    assert [(each["kind"], each["metadata"]["name"]) for each in taken] == [
        (each["kind"], each["metadata"]["name"]) for each in found if each["kind"] != "Namespace"
    ]


def test_a_pod_that_would_run_as_root_is_refused(kube: Kube, staging: str) -> None:
    """By the namespace's Pod Security."""
    container = _pod(staging)["spec"]["containers"][0]
    rootful = {**_pod(staging), "spec": {"containers": [{**container, "securityContext": {"runAsUser": 0}}]}}
    with pytest.raises(AccessDenied, match=r'violates PodSecurity "restricted:v1\.34"'):
        kube.apply(rootful, dry_run=True)


def test_a_pod_that_says_nothing_gets_requests_limits_and_no_token(kube: Kube, staging: str) -> None:
    """So that the quota counts it, and that it cannot ask the API server."""
    made = kube.apply(_pod(staging), dry_run=True)["spec"]
    assert made["containers"][0]["resources"] == {
        "requests": {"cpu": "50m", "memory": "64Mi"},
        "limits": {"cpu": "1", "memory": "1Gi"},
    }
    assert not [volume for volume in made.get("volumes", []) if "projected" in volume]


@pytest.mark.parametrize(
    ("resources", "refused"),
    [
        ({"requests": {"cpu": "3"}, "limits": {"cpu": "4"}}, "exceeded quota: stage.*requests.cpu"),
        ({"limits": {"cpu": "5"}}, "maximum cpu usage per Container is 4"),
        ({"limits": {"nvidia.com/gpu": "1"}}, "exceeded quota: stage.*nvidia.com/gpu"),
    ],
)
def test_what_is_beyond_the_quota_or_the_limits_is_refused(
    kube: Kube, staging: str, resources: Document, refused: str
) -> None:
    """With the resource named; staging has no GPU at all."""
    with pytest.raises(AccessDenied, match=refused):
        kube.apply(_pod(staging, resources), dry_run=True)


def _pod(namespace: str, resources: Document | None = None) -> Document:
    container = {
        "name": "a",
        "image": "a:1",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "resources": resources or {},
    }
    security = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "tried", "namespace": namespace},
        "spec": {"securityContext": security, "containers": [container]},
    }


def _moved(document: Document, namespace: str) -> Document:
    return {**document, "metadata": {**document["metadata"], "namespace": namespace}}


def _counts(kube: Kube, namespace: str) -> bool:
    """Whether a quota that is made now is counted in full.

    Its controller looks for new kinds every half a minute, and again at a quota that is there only after minutes.
    """
    [quota] = documents(MANIFESTS / "overlays/staging/quota.yaml")
    kube.delete(_QUOTA, "stage", namespace)
    kube.apply(_moved(quota, namespace))

    def counted(found: Document) -> bool:
        return bool(found["spec"]["hard"].keys() <= found.get("status", {}).get("used", {}).keys())

    try:
        kube.wait_for(_QUOTA, "stage", namespace, counted, what="its count", deadline=Deadline.after(_COUNTED_S))
    except WaitTimeout:
        return False
    return True
