"""What the credentials of a run need in a cluster that is not ours: one role, as data, beside the people's matrix.

It works inside given namespaces, and reads the shared parts: the gateway's proxies, whose log and counters it needs,
and Prometheus and the collector. It may not make namespaces, and nothing of it holds for the whole cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from harness.backends.kubernetes.access import Level, Resource
from harness.backends.kubernetes.arrows import PROXIES
from harness.backends.kubernetes.world import MANAGED_BY, MANAGER, SYSTEM

NAME = "rehearsal"
_RBAC = "rbac.authorization.k8s.io"
CALL = ("get", "create")
"""Of what connects to a Pod: by websocket it is a get, by the older protocol a create."""


class Where(StrEnum):
    """The namespaces of a run, as the role knows them."""

    GIVEN = "given"
    GATEWAY = "gateway"
    SYSTEM = "system"


SHARED = {Where.GATEWAY: PROXIES, Where.SYSTEM: SYSTEM}
"""The namespaces that all runs share."""


@dataclass(frozen=True)
class Grant:
    """Verbs on a resource in the namespaces of one kind, and what for."""

    where: Where
    resource: Resource
    verbs: tuple[str, ...]
    why: str


def _given(name: str, group: str, level: Level | tuple[str, ...], why: str, version: str = "v1") -> Grant:
    verbs = level.value if isinstance(level, Level) else level
    return Grant(Where.GIVEN, Resource(name, group, version), verbs, why)


def _shared(where: Where, name: str, verbs: tuple[str, ...], why: str, group: str = "") -> Grant:
    return Grant(where, Resource(name, group), verbs, why)


_READ, _GET = Level.READ.value, Level.GET.value

GRANTS = (
    _given("inferenceservices", "serving.kserve.io", Level.WRITE, "what is served", "v1beta1"),
    _given("httproutes", "gateway.networking.k8s.io", Level.WRITE, "the split of the traffic"),
    _given("backendtrafficpolicies", "gateway.envoyproxy.io", Level.WRITE, "retries and limits of a route", "v1alpha1"),
    _given("services", "", Level.WRITE, "the way to a revision, and to the run's MLflow"),
    _given("deployments", "apps", Level.WRITE, "the run's MLflow server"),
    _given("jobs", "batch", Level.WRITE, "pipeline steps, and the Pods of a large load"),
    _given("trainjobs", "trainer.kubeflow.org", Level.WRITE, "a training by Kubeflow Trainer", "v1alpha1"),
    _given("configmaps", "", Level.WRITE, "the plan of a large load"),
    _given("pods", "", Level.RESTART, "readiness of replicas; a fault kills one"),
    _given("pods/log", "", Level.GET, "logs of steps, and of what failed"),
    _given("pods/portforward", "", CALL, "the run's MLflow, from outside"),
    _given("pods/proxy", "", CALL, "the parts of a large load"),
    _given("pods/exec", "", CALL, "faults that a model server commits"),
    _given("replicasets", "apps", Level.READ, "diagnostics"),
    _given("events", "", Level.READ, "why a Pod does not start"),
    _given("horizontalpodautoscalers", "autoscaling", Level.READ, "reaction times of scaling", "v2"),
    _given("poddisruptionbudgets", "policy", Level.READ, "diagnostics"),
    _given("resourcequotas", "", Level.READ, "diagnostics"),
    _given("limitranges", "", Level.READ, "diagnostics"),
    _shared(Where.GATEWAY, "services", _READ, "where the gateway is"),
    _shared(Where.GATEWAY, "pods", _READ, "its proxies"),
    _shared(Where.GATEWAY, "pods/log", _GET, "the access log, for the ledger"),
    _shared(Where.GATEWAY, "pods/proxy", _GET, "Envoy's counters of each revision"),
    _shared(Where.GATEWAY, "pods/portforward", CALL, "requests from outside"),
    _shared(Where.GATEWAY, "deployments", _GET, "its version", "apps"),
    _shared(Where.SYSTEM, "services", _READ, "Prometheus and the collector"),
    _shared(Where.SYSTEM, "services/proxy", _GET, "the collector's totals"),
    _shared(Where.SYSTEM, "pods", _READ, "behind those Services"),
    _shared(Where.SYSTEM, "pods/portforward", CALL, "Prometheus, from outside"),
    _shared(Where.SYSTEM, "gateways", _GET, "whether our Gateway is there", "gateway.networking.k8s.io"),
    _shared(Where.SYSTEM, "deployments", _GET, "versions", "apps"),
)


def granted(where: Where) -> dict[Resource, tuple[str, ...]]:
    """Resource -> verbs, of the namespaces of one kind."""
    return {grant.resource: grant.verbs for grant in GRANTS if grant.where is where}


def account() -> dict[str, Any]:
    """The service account of machines; it is in the system namespace, where only administrators make Pods."""
    metadata = {**_metadata(), "namespace": SYSTEM}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata, "automountServiceAccountToken": False}


def documents(where: Where, namespace: str | None = None) -> list[dict[str, Any]]:
    """The Role of a namespace and who has it (None: left to `kubectl -n`): the account, and people by their group."""
    metadata = {**_metadata(), **({"namespace": namespace} if namespace else {})}
    subjects = [
        {"apiGroup": _RBAC, "kind": "Group", "name": f"rehearsal:{NAME}"},
        {"kind": "ServiceAccount", "name": NAME, "namespace": SYSTEM},
    ]
    role = {"apiVersion": f"{_RBAC}/v1", "kind": "Role", "metadata": metadata, "rules": list(_rules(granted(where)))}
    reference = {"apiGroup": _RBAC, "kind": "Role", "name": NAME}
    binding = {"apiVersion": f"{_RBAC}/v1", "kind": "RoleBinding", "metadata": metadata}
    return [role, {**binding, "roleRef": reference, "subjects": subjects}]


def shared() -> list[dict[str, Any]]:
    """The account, and its Roles in the namespaces that all runs share."""
    return [account(), *(document for where, name in SHARED.items() for document in documents(where, name))]


def _metadata() -> dict[str, Any]:
    return {"name": NAME, "labels": {MANAGED_BY: MANAGER}}


def _rules(verbs_of: Mapping[Resource, tuple[str, ...]]) -> Iterator[dict[str, Any]]:
    """One rule for all resources of a group that have the same verbs."""
    together: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for resource, verbs in verbs_of.items():
        together.setdefault((resource.group, verbs), []).append(resource.name)
    for (group, verbs), names in together.items():
        yield {"apiGroups": [group], "resources": names, "verbs": list(verbs)}


def reference() -> str:
    """The role as a table of Markdown, for docs/access.md."""
    rows = [
        f"| {_title(grant.where)} | `{grant.resource.title}` | {', '.join(grant.verbs)} | {grant.why} |"
        for grant in GRANTS
    ]
    return "| in | resource | verbs | what for |\n|---|---|---|---|\n" + "\n".join(rows)


def _title(where: Where) -> str:
    return "given namespaces" if where is Where.GIVEN else f"`{SHARED[where]}`"
