"""Who may connect to whom in a cluster: the architecture's arrows as data, from which the NetworkPolicies come.

Everything that no arrow names is denied, in both directions: for every Pod of a namespace with models, for every Pod of
the system namespace, and for the gateway's proxies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from harness.backends.kubernetes.world import LOGICAL_LABEL, MANAGED_BY, MANAGER, MLFLOW_PORT, SYSTEM

NAMESPACE_NAME = "kubernetes.io/metadata.name"
PROXIES = "envoy-gateway-system"
"""Where Envoy Gateway and its proxies run."""
POD_RANGE = "10.244.0.0/16"
DNS_PORT, GATEWAY_PORT, AGENT_PORT, MODEL_PORT = 53, 10080, 9081, 8080
"""Ports of containers, which is what policies see: 10080 is where Envoy Gateway puts a listener on 80."""


class Place(Enum):
    """Where a party's Pods are."""

    MODELS = "a namespace with models"
    SYSTEM = "the system namespace"
    PROXIES = "the gateway's namespace"
    DNS = "kube-system"
    OUTSIDE = "outside of the cluster"
    ELSEWHERE = "any other namespace"


@dataclass(frozen=True)
class Party:
    """One end of an arrow: the Pods with these labels; no labels: all Pods of the place."""

    name: str
    place: Place
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Arrow:
    """Connections that may be opened from one party to TCP ports of another, and what for."""

    source: Party
    target: Party
    ports: tuple[int, ...]
    why: str
    across: bool = False
    """Whether it leads from one namespace with models to another too: a run has one MLflow for all of its own."""


@dataclass(frozen=True)
class Places:
    """The names that the places have in a cluster."""

    system: str = SYSTEM
    proxies: str = PROXIES
    pod_range: str = POD_RANGE


_COMPONENT, _NAME = "app.kubernetes.io/component", "app.kubernetes.io/name"

PREDICTOR = Party("predictor", Place.MODELS, {"component": "predictor"})
TRANSFORMER = Party("transformer", Place.MODELS, {"component": "transformer"})
STEP = Party("pipeline step", Place.MODELS, {_COMPONENT: "pipeline-step"})
LOAD = Party("load generator", Place.MODELS, {_COMPONENT: "load"})
MODELS = Party("any Pod beside a model", Place.MODELS)
GATEWAY = Party("gateway", Place.PROXIES, {_COMPONENT: "proxy", MANAGED_BY: "envoy-gateway"})
CONTROL_PLANE = Party("gateway's control plane", Place.PROXIES, {"control-plane": "envoy-gateway"})
MLFLOW = Party("MLflow", Place.SYSTEM, {_NAME: "mlflow"})
OWN_MLFLOW = Party("a run's MLflow", Place.MODELS, {_NAME: "mlflow"})
TEMPLATE = Party("MLflow's empty store", Place.SYSTEM, {_NAME: "mlflow-template"})
POSTGRESQL = Party("PostgreSQL", Place.SYSTEM, {_NAME: "postgres"})
COLLECTOR = Party("collector", Place.SYSTEM, {_NAME: "collector"})
PROMETHEUS = Party("Prometheus", Place.SYSTEM, {_NAME: "prometheus"})
ALERTMANAGER = Party("Alertmanager", Place.SYSTEM, {_NAME: "alertmanager"})
ANY_SYSTEM = Party("any system Pod", Place.SYSTEM)
DNS = Party("DNS", Place.DNS, {"k8s-app": "kube-dns"})
OUTSIDE = Party("outside of the cluster", Place.OUTSIDE)

_HTTP = (MODEL_PORT, AGENT_PORT)

ARROWS = (
    Arrow(OUTSIDE, GATEWAY, (GATEWAY_PORT,), "clients ask for predictions"),
    Arrow(LOAD, GATEWAY, (GATEWAY_PORT,), "a load takes the clients' way"),
    Arrow(LOAD, LOAD, (5557,), "Locust's workers report to its master"),
    Arrow(GATEWAY, PREDICTOR, _HTTP, "every request passes the gateway"),
    Arrow(GATEWAY, TRANSFORMER, _HTTP, "every request passes the gateway"),
    Arrow(GATEWAY, CONTROL_PLANE, (18000,), "the proxies fetch their routes"),
    Arrow(TRANSFORMER, PREDICTOR, _HTTP, "a transformer asks its predictor"),
    Arrow(PREDICTOR, MLFLOW, (MLFLOW_PORT,), "a model version is fetched when its Pod starts"),
    Arrow(PREDICTOR, COLLECTOR, (8080,), "the payload logger's CloudEvents"),
    Arrow(STEP, MLFLOW, (MLFLOW_PORT,), "a pipeline logs its runs and registers versions"),
    Arrow(PREDICTOR, OWN_MLFLOW, (MLFLOW_PORT,), "the same, where a run brings its own MLflow", across=True),
    Arrow(STEP, OWN_MLFLOW, (MLFLOW_PORT,), "the same, where a run brings its own MLflow", across=True),
    Arrow(OUTSIDE, MLFLOW, (MLFLOW_PORT,), "people and the rehearsal itself, through a port of the node"),
    Arrow(MLFLOW, POSTGRESQL, (5432,), "runs and versions are rows"),
    Arrow(TEMPLATE, POSTGRESQL, (5432,), "an empty store is migrated once"),
    Arrow(PROMETHEUS, GATEWAY, (19001,), "the gateway's counters"),
    Arrow(PROMETHEUS, ALERTMANAGER, (9093,), "alerts"),
    Arrow(OUTSIDE, PROMETHEUS, (9090,), "people and the rehearsal itself, through a port of the node"),
    Arrow(OUTSIDE, ALERTMANAGER, (9093,), "people silence alerts"),
    Arrow(MODELS, DNS, (DNS_PORT,), "names"),
    Arrow(ANY_SYSTEM, DNS, (DNS_PORT,), "names"),
    Arrow(GATEWAY, DNS, (DNS_PORT,), "names"),
)


def covers(party: Party, other: Party) -> bool:
    """Whether the Pods of `other` are Pods of `party` as well."""
    return party.place is other.place and party.labels.items() <= other.labels.items()


def may_connect(source: Party, target: Party, port: int, *, same_namespace: bool = True) -> bool:
    """Whether an arrow allows a TCP connection; within a place, few arrows leave the namespace."""
    leaves = source.place is target.place and not same_namespace
    return any(
        covers(arrow.source, source) and covers(arrow.target, target) and port in arrow.ports
        for arrow in ARROWS
        if arrow.across or not leaves
    )


def held(party: Party) -> bool:
    """Whether policies hold the party's Pods to the arrows; in the gateway's namespace only the proxies are."""
    return party.place in (Place.MODELS, Place.SYSTEM) or covers(GATEWAY, party)


def policies(place: Place, namespace: str | None, places: Places | None = None) -> list[dict[str, Any]]:
    """The NetworkPolicies of a namespace (None: left to Kustomize): all denied, and one for each party with arrows."""
    names = places or Places()
    parties = {party.name: party for arrow in ARROWS for party in (arrow.source, arrow.target) if party.place is place}
    denied = [] if place is Place.PROXIES else [_policy("default-deny", namespace, {}, [], [])]
    return denied + [
        _policy(slug(party), namespace, party.labels, _ingress(party, names), _egress(party, names))
        for party in parties.values()
        if held(party)
    ]


def _policy(
    name: str, namespace: str | None, labels: Mapping[str, str], ingress: Sequence[Any], egress: Sequence[Any]
) -> dict[str, Any]:
    where = {"namespace": namespace} if namespace else {}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, **where, "labels": {MANAGED_BY: MANAGER}},
        "spec": {
            "podSelector": {"matchLabels": dict(labels)} if labels else {},
            "policyTypes": ["Ingress", "Egress"],
            **({"ingress": list(ingress)} if ingress else {}),
            **({"egress": list(egress)} if egress else {}),
        },
    }


def _ingress(party: Party, names: Places) -> list[dict[str, Any]]:
    arrows = [arrow for arrow in ARROWS if arrow.target is party]
    return [{"from": [_peer(a.source, party, names, across=a.across)], "ports": _ports(a)} for a in arrows]


def _egress(party: Party, names: Places) -> list[dict[str, Any]]:
    arrows = [arrow for arrow in ARROWS if arrow.source is party]
    return [{"to": [_peer(a.target, party, names, across=a.across)], "ports": _ports(a)} for a in arrows]


def _ports(arrow: Arrow) -> list[dict[str, Any]]:
    protocols = ("UDP", "TCP") if arrow.target is DNS else ("TCP",)
    return [{"protocol": protocol, "port": port} for protocol in protocols for port in arrow.ports]


def _peer(peer: Party, seen_from: Party, names: Places, *, across: bool) -> dict[str, Any]:
    if peer.place is Place.OUTSIDE:
        return {"ipBlock": {"cidr": "0.0.0.0/0", "except": [names.pod_range]}}
    pods = {"podSelector": {"matchLabels": dict(peer.labels)}} if peer.labels else {}
    if peer.place is seen_from.place and not across:  # in this very namespace: staging's models never meet production's
        return pods or {"podSelector": {}}
    if peer.place is Place.MODELS:
        return {"namespaceSelector": {"matchExpressions": [{"key": LOGICAL_LABEL, "operator": "Exists"}]}, **pods}
    name = {Place.SYSTEM: names.system, Place.PROXIES: names.proxies, Place.DNS: "kube-system"}[peer.place]
    return {"namespaceSelector": {"matchLabels": {NAMESPACE_NAME: name}}, **pods}


def slug(party: Party) -> str:
    """The name of the party's policy."""
    return party.name.lower().replace("'", "").replace(" ", "-")


def reference(arrows: Iterable[Arrow] = ARROWS) -> str:
    """The arrows as a table of Markdown, for docs/access.md."""
    rows = [
        f"| {arrow.source.name} | {arrow.target.name} | {', '.join(map(str, arrow.ports))} | {arrow.why} |"
        for arrow in arrows
    ]
    return "| from | to | ports | what for |\n|---|---|---|---|\n" + "\n".join(rows)
