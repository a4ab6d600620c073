"""A Service of our own for each revision: what the routes lead to, with the port that its Pods really have.

KServe's own cannot be routed to while payloads are logged. The moment a document gets a logger, KServe 0.20 points the
Service at the port of the agent that no Pod has yet, and every request is refused until new Pods are ready; and it
never points a canary's Service there, so that a canary's logger sees nothing. scenarios/test_kserve_findings.py shows
both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.backends.kubernetes.applied import REVISION_LABEL, SERVICE_LABEL
from harness.backends.kubernetes.pods import Replica
from harness.clients.kubernetes import Kube

if TYPE_CHECKING:
    from harness.backends.kubernetes._service import Service

KIND = "v1/Service"
PORT = 80
MODEL_PORT, AGENT_PORT = 8080, 9081


def entrance_name(service: str, revision: str) -> str:
    """The Service's name; KServe gives none two dashes in a row."""
    return f"{service}--{revision}"


def port_of(replicas: Sequence[Replica], revision: str, *, logged: bool) -> int:
    """Where a revision is to be reached: the agent's port as long as it is to log and each ready replica has an agent.

    Both ports answer in a Pod that has an agent, so a switch between them loses nothing as long as it comes after the
    last Pod without one, and before the first.
    """
    agents = [replica.agent for replica in replicas if replica.revision == revision and replica.ready]
    return AGENT_PORT if logged and agents and all(agents) else MODEL_PORT


def entrance(service: str, namespace: str, revision: str, port: int, labels: Mapping[str, str]) -> dict[str, Any]:
    """The Service of a revision whose Pods are reached at `port`."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": entrance_name(service, revision), "namespace": namespace, "labels": dict(labels)},
        "spec": {
            "selector": {SERVICE_LABEL: service, REVISION_LABEL: revision},
            "ports": [{"name": "http", "port": PORT, "protocol": "TCP", "targetPort": port}],
        },
    }


def follow(kube: Kube, service: Service, labels: Mapping[str, str]) -> None:
    """Have an entrance for each revision that KServe runs, with the port of now, and none for others."""
    namespace, name = service.key
    there = service.told.revisions if service.told else ()
    for revision in there:
        logged = service.contents[revision].logger is not None
        wanted = entrance(name, namespace, revision, port_of(service.replicas, revision, logged=logged), labels)
        if service.entrances.get(revision) != wanted:
            kube.apply(wanted)
            service.entrances[revision] = wanted
    for revision in set(service.entrances) - {*there, *service.routing.listed}:
        remove(kube, service, revision)


def remove(kube: Kube, service: Service, revision: str) -> None:
    """Take away a revision's entrance, which nothing may lead to any more."""
    namespace, name = service.key
    kube.delete(KIND, entrance_name(name, revision), namespace)
    del service.entrances[revision]
