"""Who may do what in a namespace of a cluster, from which manifests, tests and docs come.

Whether a role may change what trains and what serves in `staging` and in `production` is said by the one matrix of
harness.lifecycle.access; here is what that means for the resources of Kubernetes, and what may be read. Nobody may
change what holds a namespace in check (its quota, its limits, its network policies, its roles), and nobody may mint
tokens for service accounts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from harness.backends.kubernetes.world import MANAGED_BY, MANAGER
from harness.lifecycle.access import ROLES, STAGES, allowed

VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
_RBAC = "rbac.authorization.k8s.io"


class Level(Enum):
    """What a role may do with a resource: the verbs of a cell."""

    NONE = frozenset[str]()  # an empty tuple would be the arguments of object() in Python 3.11.2, Debian 12's
    GET = ("get",)
    READ = ("get", "list", "watch")
    RUN = (*READ, "create", "delete")
    STEER = (*READ, "update", "patch")
    RESTART = (*READ, "delete")
    WRITE = (*READ, "create", "update", "patch", "delete")


@dataclass(frozen=True)
class Resource:
    """A resource of the API: "pods/log" in the core group, or "jobs" in "batch"."""

    name: str
    group: str = ""
    version: str = "v1"

    @property
    def verbs(self) -> tuple[str, ...]:
        """The verbs that a request can have: a subresource is one object's, so it cannot be listed."""
        many = ("list", "watch", "deletecollection")
        return tuple(verb for verb in VERBS if "/" not in self.name or verb not in many)

    @property
    def title(self) -> str:
        """The resource as `kubectl auth can-i` takes it."""
        plural, _, subresource = self.name.partition("/")
        return f"{plural}{'.' if self.group else ''}{self.group}" + (f"/{subresource}" if subresource else "")


_Levels = tuple[Level, Level, Level, Level]


@dataclass(frozen=True)
class Row:
    """A resource, and what each role may do with it: one level a role, in the order of ROLES."""

    resource: Resource
    staging: _Levels
    production: _Levels

    def level(self, role: str, stage: str) -> Level:
        levels: Mapping[str, tuple[Level, ...]] = {"staging": self.staging, "production": self.production}
        return levels[stage][ROLES.index(role)]


_N, _G, _R, _RUN, _S, _D, _W = (
    Level.NONE, Level.GET, Level.READ, Level.RUN, Level.STEER, Level.RESTART, Level.WRITE,
)  # fmt: skip
_READERS = (_R, _R, _R, _R)
_NOBODY = (_N, _N, _N, _N)


def _who(verb: str, resource: str, level: Level) -> _Levels:
    """A level for the roles that may do this with the platform itself; the others read."""
    first, second, third, fourth = (level if allowed(role, verb, resource) else _R for role in ROLES)
    return first, second, third, fourth


def _serves(stage: str, level: Level) -> _Levels:
    return _who("commit", f"desired state of {stage}", level)


def _trains(level: Level) -> _Levels:
    return _who("log a run", "experiments", level)


_SERVING, _GATEWAY, _TRAINER = "serving.kserve.io", "gateway.networking.k8s.io", "trainer.kubeflow.org"

MATRIX = (
    # Who may change something follows from the platform's matrix. In the order of ROLES; staging, then production.
    Row(Resource("inferenceservices", _SERVING, "v1beta1"), _serves("staging", _W), _serves("production", _W)),
    Row(Resource("inferenceservices/status", _SERVING, "v1beta1"), (_G, _G, _G, _G), (_G, _G, _G, _G)),
    Row(Resource("httproutes", _GATEWAY), _serves("staging", _W), _serves("production", _S)),
    Row(Resource("trainjobs", _TRAINER, "v1alpha1"), _trains(_RUN), _READERS),
    Row(Resource("jobs", "batch"), _trains(_RUN), _READERS),
    Row(Resource("deployments", "apps"), _READERS, _READERS),
    Row(Resource("deployments/scale", "apps"), (_G, _G, _G, _G), (_G, _G, _G, _G)),
    Row(Resource("replicasets", "apps"), _READERS, _READERS),
    Row(Resource("pods"), _serves("staging", _D), _serves("production", _D)),
    Row(Resource("pods/log"), (_G, _G, _G, _N), (_G, _G, _G, _N)),
    Row(Resource("pods/exec"), _NOBODY, _NOBODY),
    Row(Resource("pods/portforward"), _NOBODY, _NOBODY),
    Row(Resource("pods/eviction"), _NOBODY, _NOBODY),
    Row(Resource("services"), _READERS, _READERS),
    Row(Resource("configmaps"), _trains(_W), _READERS),
    Row(Resource("secrets"), _NOBODY, _NOBODY),
    Row(Resource("persistentvolumeclaims"), _trains(_RUN), _READERS),
    Row(Resource("events"), _READERS, _READERS),
    Row(Resource("horizontalpodautoscalers", "autoscaling", "v2"), _READERS, _READERS),
    Row(Resource("poddisruptionbudgets", "policy"), _READERS, _READERS),
    Row(Resource("networkpolicies", "networking.k8s.io"), _READERS, _READERS),
    Row(Resource("resourcequotas"), _READERS, _READERS),
    Row(Resource("limitranges"), _READERS, _READERS),
    Row(Resource("serviceaccounts"), _NOBODY, _NOBODY),
    Row(Resource("serviceaccounts/token"), _NOBODY, _NOBODY),
    Row(Resource("roles", _RBAC), _NOBODY, _NOBODY),
    Row(Resource("rolebindings", _RBAC), _NOBODY, _NOBODY),
)


CLUSTER_WIDE = (
    Resource("nodes"),
    Resource("namespaces"),
    Resource("persistentvolumes"),
    Resource("clusterroles", _RBAC),
    Resource("clusterrolebindings", _RBAC),
    Resource("customresourcedefinitions", "apiextensions.k8s.io"),
    Resource("validatingwebhookconfigurations", "admissionregistration.k8s.io"),
    Resource("clusterservingruntimes", _SERVING, "v1alpha1"),
)
"""Resources of no namespace: no role may do anything with them."""
EVERYWHERE = (Resource("secrets"), Resource("pods"), Resource("inferenceservices", _SERVING, "v1beta1"))
"""Resources of namespaces that a call may ask for in all of them at once: no role may."""


@dataclass(frozen=True)
class Cell:
    """One cell: may this role do this to this resource in this stage; in "", the whole cluster?"""

    stage: str
    role: str
    verb: str
    resource: Resource
    allowed: bool


def cells(stage: str) -> Iterator[Cell]:
    """Every cell of a stage's matrix that can be asked of the API."""
    for row in MATRIX:
        for role in ROLES:
            for verb in row.resource.verbs:
                yield Cell(stage, role, verb, row.resource, verb in row.level(role, stage).value)


def cluster_cells() -> Iterator[Cell]:
    """What could be asked of the whole cluster: all of it denied to every role."""
    for role in ROLES:
        for resource in CLUSTER_WIDE:
            yield from (Cell("", role, verb, resource, allowed=False) for verb in resource.verbs)
        for resource in EVERYWHERE:
            yield from (Cell("", role, verb, resource, allowed=False) for verb in ("list", "watch"))


def documents(stage: str, namespace: str | None = None) -> list[dict[str, Any]]:
    """A service account, a Role and a RoleBinding for each role of a stage, in its namespace.

    People come by group, `rehearsal:<role>`, as the cluster's identity provider names it; machines by service account.
    """
    where = namespace or stage
    made: list[dict[str, Any]] = []
    for role in ROLES:
        metadata = {"name": role, "namespace": where, "labels": {MANAGED_BY: MANAGER}}
        made += [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata, "automountServiceAccountToken": False},
            {"apiVersion": f"{_RBAC}/v1", "kind": "Role", "metadata": metadata, "rules": _rules(role, stage)},
            {
                "apiVersion": f"{_RBAC}/v1",
                "kind": "RoleBinding",
                "metadata": metadata,
                "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": role},
                "subjects": [
                    {"apiGroup": _RBAC, "kind": "Group", "name": f"rehearsal:{role}"},
                    {"kind": "ServiceAccount", "name": role, "namespace": where},
                ],
            },
        ]
    return made


def _rules(role: str, stage: str) -> list[dict[str, Any]]:
    """One rule for all resources of a group that have the same verbs."""
    together: dict[tuple[str, Level], list[str]] = {}
    for row in MATRIX:
        level = row.level(role, stage)
        if level is not Level.NONE:
            together.setdefault((row.resource.group, level), []).append(row.resource.name)
    return [
        {"apiGroups": [group], "resources": resources, "verbs": list(level.value)}
        for (group, level), resources in together.items()
    ]


def reference() -> str:
    """The matrix as two tables of Markdown, for docs/access.md."""
    parts = ["| word | verbs |\n|---|---|"]
    parts[0] += "".join(f"\n| {_word(level)} | {', '.join(level.value) or 'none'} |" for level in Level)
    for stage in STAGES:
        head = f"| resource | {' | '.join(ROLES)} |\n|---|{'---|' * len(ROLES)}"
        rows = [
            f"| `{row.resource.title}` | {' | '.join(_word(row.level(role, stage)) for role in ROLES)} |"
            for row in MATRIX
        ]
        parts.append(f"### In {stage}\n\n{head}\n" + "\n".join(rows))
    return "\n\n".join(parts)


def _word(level: Level) -> str:
    return "–" if level is Level.NONE else level.name.lower()
