"""What can be made to fail in a cluster: Faults of one run's Pods, with numbers that stand for Pods in place of pids.

Only Pods of this run, and the shared parts by their own names, are ever touched.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from harness.backends.kubernetes.applied import REVISION_LABEL, SERVICE_LABEL
from harness.backends.kubernetes.disruptions import Disruptions, Undo
from harness.backends.kubernetes.lives import GATEWAY, Life
from harness.backends.kubernetes.runspace import label_of
from harness.backends.kubernetes.world import RUN_LABEL
from harness.backends.status import ReplicaStatus
from harness.clients.kubernetes import Kube
from harness.errors import CapabilityMissing, PlatformError, UsageError
from harness.runtime.clock import Deadline
from harness.runtime.events import Event, EventLog

if TYPE_CHECKING:
    from harness.backends.kubernetes.envoy_pods import EnvoyPods

SERVING_CONTAINER = "kserve-container"
DRAIN_S = 2.0
QUOTA_S = 10.0
WEBHOOK = ("kserve", "kserve-controller-manager")
# One argument is the file, the next its text: written beside it and renamed, as the server may read it at any time.
_WRITE = "import os, sys; f = sys.argv[1]; open(f + '.new', 'w').write(sys.argv[2]); os.replace(f + '.new', f)"
_REMOVE = "import pathlib, sys; pathlib.Path(sys.argv[1]).unlink(missing_ok=True)"

Object = dict[str, Any]
Where = tuple[str, str, str]


class KubernetesFaults:
    """Kills, freezes and spoils Pods of one run; each call is told as an event "fault.…"."""

    def __init__(self, kube: Kube, events: EventLog, *, run_id: str, system: str, envoy: EnvoyPods) -> None:
        self._kube, self._events, self._system, self._envoy = kube, events, system, envoy
        self._run = label_of(run_id)
        self.cluster = Disruptions(kube, events, run_id)
        self._numbers = itertools.count(1)
        self._pods: dict[int, tuple[str, str]] = {}
        self._frozen: dict[int, Undo] = {}
        self._committed: dict[Where, str] = {}
        events.listen(self._renew)

    def replicas(self, namespace: str, name: str, revision: str) -> list[ReplicaStatus]:
        """The revision's Pods that are there now; `pid` stands for the Pod, `log` is its name."""
        return [
            ReplicaStatus(
                revision=revision,
                pid=self._number(pod),
                state="ready" if Life.of(pod).ready else "starting",
                address=str(pod.get("status", {}).get("podIP", "")),
                log=pod["metadata"]["name"],
            )
            for pod in self._of(namespace, name, revision)
        ]

    def gateway(self) -> int:
        """The number of the gateway's Pod; UsageError if there is none, as for the next two."""
        pods = self._kube.list("v1/Pod", self._envoy.namespace, labels=self._envoy.selector)
        return self._first(pods, "the gateway")

    def mlflow(self) -> int:
        labels = f"app.kubernetes.io/name=mlflow,{RUN_LABEL}={self._run}"
        servers = self._kube.list("apps/v1/Deployment", self._system, labels=labels)
        pods = [pod for server in servers for pod in self._kube.list("v1/Pod", self._system, labels=_selector(server))]
        return self._first(pods, "this run's MLflow server")

    def prometheus(self) -> int:
        pods = self._kube.list("v1/Pod", self._system, labels="app.kubernetes.io/name=prometheus")
        return self._first(pods, "Prometheus")

    def kill(self, pid: int) -> None:
        """End a Pod: of the gateway its process where its node can be reached, so that it comes back in its place."""
        pod = self._pod(pid)
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        if namespace == self._envoy.namespace:
            try:
                self.cluster.kill_container(pod, GATEWAY)
            except CapabilityMissing:
                self.cluster.kill_pod(namespace, name)
        else:
            self.cluster.kill_pod(namespace, name)

    def stop(self, pid: int) -> None:
        """Let a Pod stand still; CapabilityMissing where its node cannot be reached."""
        pod = self._pod(pid)
        self._frozen[pid] = self.cluster.freeze(pod, self._container(pod))

    def cont(self, pid: int) -> None:
        """Let a Pod that stands still go on; UsageError if it is gone meanwhile."""
        thaw = self._frozen.pop(pid, None)
        if thaw is not None:
            self._pod(pid)
            thaw()

    def inject(self, namespace: str, name: str, revision: str, fault: Mapping[str, Any]) -> None:
        """Have every replica of a revision, also one that is started later, commit a fault until `clear`."""
        from harness.components.fault_hook import parse_fault

        parse_fault(fault)
        told = json.dumps(dict(fault))
        self._tell(f"{namespace}/{name}", f"{revision}: {told}", "injected", revision=revision)
        self._committed[namespace, name, revision] = told
        for pod in self._of(namespace, name, revision):
            self._spoil(pod["metadata"]["name"], namespace, [_WRITE, _fault_file(), told])

    def clear(self, namespace: str, name: str, revision: str) -> None:
        """End the fault of a revision's replicas; nothing happens if there is none."""
        self._committed.pop((namespace, name, revision), None)
        for pod in self._of(namespace, name, revision):
            self._spoil(pod["metadata"]["name"], namespace, [_REMOVE, _fault_file()])
        self._tell(f"{namespace}/{name}", f"{revision}: no fault", "cleared", revision=revision)

    def reject_gateway_config(self) -> None:
        """Envoy Gateway checks what it is given: no refused route comes as far as Envoy."""
        raise CapabilityMissing("fault gateway-config-rejected", hint="it is one of the embedded world.")

    def disrupt(self, fault: str, namespace: str, name: str, revision: str) -> Undo | None:
        """Commit a fault of the whole cluster, around a service; what it returns ends it."""
        acts: dict[str, Callable[[Where], Undo | None]] = {
            "node-drained": self._drain,
            "api-server-restarted": lambda _: self.cluster.restart_api_server(),
            "image-missing": self._hide_image,
            "quota-exhausted": lambda at: self.cluster.use_up_quota(at[0], Deadline.after(QUOTA_S)),
            "webhook-down": lambda _: self.cluster.stop_webhook(*WEBHOOK),
        }
        if fault not in acts:
            raise CapabilityMissing(f"fault {fault}", hint="it is one of containers: --backend containers.")
        return acts[fault]((namespace, name, revision))

    def _drain(self, where: Where) -> Undo:
        pods = self._of_service(*where[:2])
        if not pods:
            raise UsageError(f"fault node-drained: {where[1]} has no Pod, and so no node")
        node = pods[0]["spec"]["nodeName"]
        return self.cluster.drain(node, namespaces=[where[0]], deadline=Deadline.after(DRAIN_S))

    def _hide_image(self, where: Where) -> Undo:
        containers = [each for pod in self._of_service(*where[:2]) for each in pod["spec"]["containers"]]
        images = {each["image"] for each in containers if each["name"] == SERVING_CONTAINER}
        if not images:
            raise UsageError(f"fault image-missing: {where[1]} has no Pod, and so no image")
        return self.cluster.hide_image(_full_name(images.pop()))

    def _of(self, namespace: str, name: str, revision: str) -> list[Object]:
        labels = f"{SERVICE_LABEL}={name},{REVISION_LABEL}={revision}"
        pods = self._kube.list("v1/Pod", namespace, labels=labels)
        return [pod for pod in pods if not Life.of(pod).ending]

    def _of_service(self, namespace: str, name: str) -> list[Object]:
        pods = self._kube.list("v1/Pod", namespace, labels=f"{SERVICE_LABEL}={name}")
        return [pod for pod in pods if pod["spec"].get("nodeName") and not Life.of(pod).ending]

    def _first(self, pods: list[Object], what: str) -> int:
        living = [pod for pod in pods if not Life.of(pod).ending]
        if not living:
            raise UsageError(f"fault: {what} does not run here")
        return self._number(living[0])

    def _number(self, pod: Object) -> int:
        key = pod["metadata"]["namespace"], pod["metadata"]["name"]
        for number, known in self._pods.items():
            if known == key:
                return number
        number = next(self._numbers)
        self._pods[number] = key
        return number

    def _pod(self, pid: int) -> Object:
        if pid not in self._pods:
            raise UsageError(f"fault: {pid} stands for no Pod of this run")
        namespace, name = self._pods[pid]
        found = self._kube.find("v1/Pod", name, namespace)
        if found is None:
            raise UsageError(f"fault: Pod {namespace}/{name} is gone")
        return found

    def _container(self, pod: Object) -> str:
        names = [each["name"] for each in pod["spec"]["containers"]]
        return next((name for name in (SERVING_CONTAINER, GATEWAY) if name in names), names[0])

    def _renew(self, event: Event) -> None:
        """A replica that comes while its revision has a fault commits it too."""
        if event.kind != "replica.ready" or "pod" not in event.data:
            return
        namespace, _, name = event.subject.partition("/")
        told = self._committed.get((namespace, name, event.data.get("revision", "")))
        if told is not None:
            self._spoil(event.data["pod"], namespace, [_WRITE, _fault_file(), told])

    def _spoil(self, pod: str, namespace: str, code: list[str]) -> None:
        done = self._kube.exec(pod, namespace, ["python", "-c", *code], container=SERVING_CONTAINER)
        if done.code:
            raise PlatformError(f"fault: pod {pod}: {done.stderr.strip() or 'its model server takes no faults'}")

    def _tell(self, subject: str, message: str, what: str, **data: Any) -> None:
        self._events.emit(f"fault.{what}", subject, message, level="warning", **data)


def _full_name(image: str) -> str:
    """An image's name as the node's runtime keeps it."""
    first, slash, _ = image.partition("/")
    if not slash:
        return f"docker.io/library/{image}"
    return image if "." in first or ":" in first or first == "localhost" else f"docker.io/{image}"


def _selector(deployment: Object) -> str:
    """The Pods of a Deployment."""
    return ",".join(f"{key}={text}" for key, text in deployment["spec"]["selector"]["matchLabels"].items())


def _fault_file() -> str:
    from harness.components.container_server import FAULT_FILE

    return FAULT_FILE
