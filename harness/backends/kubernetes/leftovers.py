"""What runs leave in a cluster: found by their label, deleted, and told where it does not go."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING

from harness.backends.kubernetes.world import MANAGED_BY, MANAGER, OWNER, RUN_LABEL, run_labels
from harness.errors import AccessDenied, RequestFailed, WaitTimeout
from harness.runtime.clock import Deadline
from harness.runtime.owner import Owner
from harness.runtime.wait import wait

if TYPE_CHECKING:
    from harness.clients.kubernetes import Kube, Object

KINDS = (
    "serving.kserve.io/v1beta1/InferenceService",
    "gateway.networking.k8s.io/v1/HTTPRoute",
    "gateway.envoyproxy.io/v1alpha1/BackendTrafficPolicy",
    "trainer.kubeflow.org/v1alpha1/TrainJob",
    "batch/v1/Job",
    "apps/v1/Deployment",
    "v1/Pod",
    "v1/Service",
    "v1/ConfigMap",
    "v1/ResourceQuota",
)
"""Everything that runs make in a namespace; what these own goes with them."""
EVERY_S = 0.5
GC_S = 120.0
_ANY_RUN = f"{MANAGED_BY}={MANAGER},{RUN_LABEL}"


@dataclass(frozen=True)
class Leftover:
    """What one run has in one namespace; `whole`: the namespace itself is the run's."""

    run: str
    namespace: str
    whole: bool
    owner: Owner | None


def clean(kube: Kube, namespaces: Collection[str], run: str, deadline: Deadline) -> list[str]:
    """Delete what carries a run's label in namespaces and wait until it is gone; what is left by then, in words.

    Kinds that the cluster lacks, or hides, are passed over: what may not be listed could not be made either.
    """
    selector = ",".join(f"{key}={value}" for key, value in run_labels(run).items())
    places = [place for place in product(KINDS, namespaces) if _delete(kube, *place, selector)]
    left: list[str] = []

    def gone() -> bool:
        left[:] = [_words(found) for kind, name in places for found in kube.list(kind, name, labels=selector)]
        return not left

    try:
        wait(gone, what=f"deletion of what the run {run} made", deadline=deadline, every_s=EVERY_S)
    except WaitTimeout:
        return left
    return []


@dataclass
class Collected:
    """What became of the leftovers, in words."""

    ended: list[str] = field(default_factory=list)
    alone: list[str] = field(default_factory=list)
    """Of runs that live, or may live."""
    stuck: list[str] = field(default_factory=list)
    """Deleted, and not gone."""


def gc(kube: Kube, namespaces: Collection[str] = (), runs: Collection[str] = ()) -> Collected:
    """Delete what runs left that are known to be dead, and those named.

    Looked for in the whole cluster, or in `namespaces`. Errors: AccessDenied for who may not list it.
    """
    collected = Collected()
    deadline = Deadline.after(GC_S)
    for found in leftovers(kube, namespaces):
        where = f"run {found.run} in namespace {found.namespace}"
        if found.run not in runs and not (found.owner and found.owner.dead()):
            collected.alone.append(f"{where}: {found.owner.words if found.owner else 'nobody knows whose'}")
        elif left := _end(kube, found, deadline):
            collected.stuck.append(f"{where}: {', '.join(left)}")
        else:
            collected.ended.append(where)
    return collected


def leftovers(kube: Kube, namespaces: Collection[str] = ()) -> list[Leftover]:
    """What there is of runs, living or dead, in these namespaces or in all: each has a Service in every namespace."""
    if namespaces:
        services = [found for name in namespaces for found in kube.list("v1/Service", name, labels=_ANY_RUN)]
        return _of(services, whole=False)
    try:
        made = _of(kube.list("v1/Namespace", labels=_ANY_RUN), whole=True)
    except AccessDenied as error:
        raise AccessDenied(
            error.message, hint="name those to look in: --namespaces production=NAMESPACE,..."
        ) from error
    whole = {found.namespace for found in made}
    services = kube.list("v1/Service", labels=_ANY_RUN)
    return made + [found for found in _of(services, whole=False) if found.namespace not in whole]


def _of(objects: Iterable[Object], *, whole: bool) -> list[Leftover]:
    """One for each run and namespace, with the owner that any of its objects names."""
    found: dict[tuple[str, str], Owner | None] = {}
    for each in objects:
        metadata = each["metadata"]
        key = metadata["labels"][RUN_LABEL], metadata["name"] if whole else metadata["namespace"]
        found[key] = found.get(key) or Owner.parse(metadata.get("annotations", {}).get(OWNER, ""))
    return [Leftover(run, namespace, whole, owner) for (run, namespace), owner in sorted(found.items())]


def _end(kube: Kube, found: Leftover, deadline: Deadline) -> list[str]:
    if not found.whole:
        return clean(kube, [found.namespace], found.run, deadline)
    kube.delete("v1/Namespace", found.namespace)
    try:
        kube.wait_deleted("v1/Namespace", found.namespace, None, deadline)
    except WaitTimeout:
        return [f"Namespace {found.namespace}"]
    return []


def _delete(kube: Kube, kind: str, namespace: str, selector: str) -> bool:
    """Delete the objects of a kind; whether there were any. What may be listed and not deleted is told as left."""
    try:
        found = kube.list(kind, namespace, labels=selector)
    except AccessDenied:
        return False
    except RequestFailed as error:
        if error.status == 404:
            return False
        raise
    for each in found:
        try:
            kube.delete(kind, each["metadata"]["name"], namespace)
        except AccessDenied:
            continue
    return bool(found)


def _words(found: Object) -> str:
    return f"{found['kind']} {found['metadata']['namespace']}/{found['metadata']['name']}"
