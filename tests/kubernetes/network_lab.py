"""Small Pods that stand where the parties of the architecture stand, and the connections that they can open."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import __version__
from harness.backends.kubernetes import arrows
from harness.backends.kubernetes.arrows import Party, Place
from harness.backends.kubernetes.manifests import load
from harness.backends.kubernetes.world import LOGICAL_LABEL, MANAGED_BY, MANAGER
from harness.clients.kubernetes import Kube
from harness.errors import WaitTimeout
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait

IMAGE = f"rehearsal/pipeline:{__version__}"
PORTS = tuple(sorted({port for arrow in arrows.ARROWS for port in arrow.ports} - {arrows.DNS_PORT}))
CONNECT_S = 3.0
AT_A_TIME = 4
ENFORCED_S = 15.0
STRANGER = "stranger"
STAND_IN = "rehearsal-network-policy-enforcer"
_STAND_IN_MANIFEST = Path(__file__).resolve().parents[2] / "images" / "go" / "network-policy-enforcer" / "manifest.yaml"
ENFORCERS = {
    STAND_IN: "the lab's stand-in (images/go/network-policy-enforcer)",
    "kindnet": "kindnet",
    "calico-node": "Calico",
    "cilium": "Cilium",
}

_SERVE = """
import selectors, socket, sys
ready = selectors.DefaultSelector()
for port in sys.argv[1:]:
    ready.register(socket.create_server(("", int(port)), backlog=512), selectors.EVENT_READ)
while True:
    for key, _ in ready.select():
        key.fileobj.accept()[0].close()
"""
_CONNECT = """
import json, selectors, socket, sys, time
opening, opened, ends = selectors.DefaultSelector(), [], time.monotonic() + float(sys.argv[1])
for target in sys.argv[2:]:
    host, port = target.split(":")
    one = socket.socket()
    one.setblocking(False)
    one.connect_ex((host, int(port)))
    opening.register(one, selectors.EVENT_WRITE, target)
while opening.get_map() and time.monotonic() < ends:
    for key, _ in opening.select(ends - time.monotonic()):
        opening.unregister(key.fileobj)
        if key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
            opened.append(key.data)
print(json.dumps(opened))
"""


@dataclass(frozen=True)
class Spot:
    """A party in a namespace: its Pod, and the address once it runs."""

    party: Party
    namespace: str
    address: str = ""

    @property
    def pod(self) -> str:
        return arrows.slug(self.party)

    @property
    def title(self) -> str:
        return f"{self.party.name} in {self.namespace}"


def stranger(place: Place) -> Party:
    """A Pod of a place that no arrow knows."""
    return Party(STRANGER, place, {"app.kubernetes.io/name": STRANGER})


def spots(namespaces: Mapping[str, str]) -> list[Spot]:
    """Every party where it belongs, a stranger in each place, and a second namespace with models."""
    parties = {party.name: party for arrow in arrows.ARROWS for party in (arrow.source, arrow.target)}
    where = {Place.MODELS: "staging", Place.SYSTEM: "system", Place.PROXIES: "proxies"}
    found = [
        Spot(party, namespaces[where[party.place]])
        for party in parties.values()
        if party.place in where and party.labels
    ]
    found += [Spot(stranger(place), namespaces[name]) for place, name in where.items()]
    found.append(Spot(Party("another load generator", Place.MODELS, arrows.LOAD.labels), namespaces["staging"]))
    found += [Spot(party, namespaces["production"]) for party in (arrows.PREDICTOR, arrows.TRANSFORMER)]
    return [*found, Spot(stranger(Place.ELSEWHERE), namespaces["elsewhere"])]


def namespace(name: str, logical: str | None) -> dict[str, Any]:
    """A namespace, with models if it has a logical name."""
    security = {"pod-security.kubernetes.io/enforce": "restricted"}
    labels = {MANAGED_BY: MANAGER, **security, **({LOGICAL_LABEL: logical} if logical else {})}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def pod(spot: Spot) -> dict[str, Any]:
    """A Pod that accepts connections on the ports of every party."""
    container = {
        "name": "party",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-S", "-c", _SERVE, *map(str, PORTS)],
        "readinessProbe": {"tcpSocket": {"port": PORTS[-1]}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "128Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": spot.pod, "namespace": spot.namespace, "labels": {**spot.party.labels}},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        },
    }


def started(kube: Kube, spot: Spot, deadline: Deadline) -> Spot:
    """The spot with the address of its Pod, once that accepts connections."""
    running = kube.wait_for(
        "v1/Pod", spot.pod, spot.namespace, _is_ready, what=f"Pod of the {spot.title}", deadline=deadline
    )
    return Spot(spot.party, spot.namespace, running["status"]["podIP"])


def dns(kube: Kube) -> Spot:
    """The cluster's DNS, as it is."""
    found = kube.list("v1/Pod", "kube-system", labels="k8s-app=kube-dns")
    return Spot(arrows.DNS, "kube-system", next(pod["status"]["podIP"] for pod in found if _is_ready(pod)))


def opened(kube: Kube, spot: Spot, targets: Iterable[tuple[str, int]]) -> set[tuple[str, int]]:
    """Those of the targets (address, port) that the spot's Pod can open a TCP connection to."""
    argv = ["python", "-S", "-c", _CONNECT, str(CONNECT_S), *(f"{address}:{port}" for address, port in targets)]
    done = kube.exec(spot.pod, spot.namespace, argv)
    assert done.code == 0, done.stderr
    return {(address, int(port)) for address, _, port in (target.partition(":") for target in json.loads(done.stdout))}


def all_opened(kube: Kube, found: Sequence[Spot], resolver: Spot) -> dict[tuple[Spot, Spot, int], bool]:
    """Each (source, target, port), whether the connection can be opened; no Pod connects to itself."""
    ends = [(spot, port) for spot in found for port in PORTS] + [(resolver, arrows.DNS_PORT)]

    def of(source: Spot) -> dict[tuple[Spot, Spot, int], bool]:
        others = [(spot, port) for spot, port in ends if spot is not source]
        open_ones = opened(kube, source, [(spot.address, port) for spot, port in others])
        return {(source, spot, port): (spot.address, port) in open_ones for spot, port in others}

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        return {cell: answer for answers in pool.map(of, found) for cell, answer in answers.items()}


def expected(source: Spot, target: Spot, port: int) -> bool:
    """What the arrows say; where no policy holds either end, everything is open."""
    if not arrows.held(source.party) and not arrows.held(target.party):
        return True
    same = source.namespace == target.namespace
    return arrows.may_connect(source.party, target.party, port, same_namespace=same)


def node_port(spot: Spot) -> dict[str, Any]:
    """A Service that has all of a party's ports on the node, for connections from outside of the cluster."""
    ports = sorted({port for arrow in arrows.ARROWS for port in arrow.ports if arrow.target.name == spot.party.name})
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": spot.pod, "namespace": spot.namespace},
        "spec": {
            "type": "NodePort",
            "selector": dict(spot.party.labels),
            "ports": [{"name": f"port-{port}", "port": port, "targetPort": port} for port in ports],
        },
    }


def reached(host: str, port: int) -> bool:
    """Whether this machine can open a TCP connection."""
    try:
        with socket.create_connection((host, port), timeout=CONNECT_S):
            return True
    except OSError:
        return False


def enforced(kube: Kube, source: Spot, target: Spot, deadline: Deadline) -> bool:
    """Whether a connection that the policies forbid stops being possible by the deadline."""
    forbidden = (target.address, PORTS[0])
    try:
        wait(lambda: not opened(kube, source, [forbidden]), what="a forbidden connection's end", deadline=deadline)
    except WaitTimeout:
        return False
    return True


def enforcer(kube: Kube) -> str:
    """What enforces policies in this cluster, by the DaemonSets that run there."""
    there = {found["metadata"]["name"] for found in kube.list("apps/v1/DaemonSet")}
    return next((title for name, title in ENFORCERS.items() if name in there), "one that is not known here")


class Enforcing:
    """Has something enforce the policies while it is entered: what the cluster has, else the stand-in.

    `source` and `target`: Pods whose connection the policies forbid. AssertionError where nothing stops it: the node
    image has the stand-in, so that its absence is a defect and no reason to skip.
    """

    def __init__(self, kube: Kube, source: Spot, target: Spot) -> None:
        self._kube = kube
        self._forbidden = source, target
        self._installed = False

    def __enter__(self) -> str:
        try:
            if not self._enforced():
                self._installed = True
                self._kube.apply_all(load(_STAND_IN_MANIFEST))
                self._kube.wait_rolled_out("apps/v1/DaemonSet", STAND_IN, "kube-system", Deadline.after(60))
                assert self._enforced(), "nothing enforces network policies here, and the stand-in does not either"
        except BaseException:
            self.__exit__()
            raise
        return enforcer(self._kube)

    def __exit__(self, *_: object) -> None:
        if self._installed:
            for document in reversed(load(_STAND_IN_MANIFEST)):
                metadata = document["metadata"]
                kind = f"{document['apiVersion']}/{document['kind']}"
                self._kube.delete(kind, metadata["name"], metadata.get("namespace"))

    def _enforced(self) -> bool:
        return enforced(self._kube, *self._forbidden, Deadline.after(ENFORCED_S))


def _is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
