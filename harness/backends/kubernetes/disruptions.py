"""Faults of a cluster, each small and undoable: what it does is told as an event, what it returns ends it.

They hit only what is named: a namespace of the run, one node, one webhook. Draining a node, and restarting the API
server or a webhook, is felt by everybody who shares the cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.backends.kubernetes.nodes import Nodes
from harness.backends.kubernetes.world import run_labels
from harness.clients.kubernetes import Kube
from harness.errors import CapabilityMissing, RequestFailed
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog
from harness.runtime.wait import wait

Undo = Callable[[], None]
Object = dict[str, Any]

QUOTA = "rehearsal-used-up"
API_SERVER = "component=kube-apiserver"
EVERY_S = 0.25
BACK_S = 90.0


class Disruptions:
    """What can be made to fail of a cluster; CapabilityMissing for what this cluster does not let us do."""

    def __init__(self, kube: Kube, events: EventLog, run_id: str = "") -> None:
        self._kube, self._events, self._run_id = kube, events, run_id
        self._nodes = Nodes(kube)

    def kill_pod(self, namespace: str, name: str) -> None:
        """End a Pod without grace, as a node that is lost does."""
        self._tell("killed", f"pod/{name}", f"deleted without grace in {namespace}")
        self._kube.delete("v1/Pod", name, namespace, grace_s=0)

    def kill_container(self, pod: Object, container: str) -> None:
        """Kill -9 of a container's first process; its Pod stays, and its kubelet starts it again."""
        self._tell("killed", f"pod/{pod['metadata']['name']}", f"SIGKILL to {container}")
        self._nodes.signal(pod, container, ("kill", "--signal", "SIGKILL"))

    def freeze(self, pod: Object, container: str) -> Undo:
        """Let a container stand still: it takes connections, and answers nothing."""
        name = pod["metadata"]["name"]
        self._tell("frozen", f"pod/{name}", f"{container} stands still")
        self._nodes.signal(pod, container, ("pause",))

        def thaw() -> None:
            self._nodes.signal(pod, container, ("resume",))
            self._tell("ended", f"pod/{name}", f"{container} goes on")

        return thaw

    def drain(self, node: str, *, namespaces: Sequence[str], deadline: Deadline) -> Undo:
        """Cordon a node and evict its Pods of these namespaces, as `kubectl drain` does; undone by uncordoning.

        A PodDisruptionBudget is kept: a Pod that it protects is still there when the deadline has passed.
        """
        self._tell("drained", f"node/{node}", f"cordoned; Pods of {', '.join(namespaces)} are evicted")
        self._cordon(node, True)
        try:
            left = [pod for name in namespaces for pod in self._evictable(node, name)]
            while left and not deadline.passed():
                left = [pod for pod in left if not self._evict(pod)]
                if left:
                    deadline.clock.sleep(min(EVERY_S, deadline.remaining_s()))
        except BaseException:
            self._cordon(node, False)
            raise
        if left:
            names = ", ".join(pod["metadata"]["name"] for pod in left)
            self._tell("refused", f"node/{node}", f"not evicted, a PodDisruptionBudget protects them: {names}")

        def uncordon() -> None:
            self._cordon(node, False)
            self._tell("ended", f"node/{node}", "uncordoned")

        return uncordon

    def restart_api_server(self) -> Undo:
        """Kill -9 of the API server; its kubelet brings it back. Undone by waiting until it answers again."""
        pods = self._kube.list("v1/Pod", "kube-system", labels=API_SERVER)
        if not pods:
            raise CapabilityMissing("fault api-server-restarted", hint="this cluster's API server is no Pod of it.")
        before = {pod["metadata"]["name"]: _restarts(pod) for pod in pods}
        for pod in pods:
            self.kill_container(pod, "kube-apiserver")

        def wait_for_it() -> None:
            deadline = Deadline.after(BACK_S)
            wait(lambda: self._is_back(before), what="API server after a kill", deadline=deadline, every_s=EVERY_S)
            self._tell("ended", "apiserver", "the API server answers again")

        return wait_for_it

    def hide_image(self, image: str) -> Undo:
        """Let an image be missing on every node, for Pods that start from now on; what runs is not touched."""
        nodes = self._nodes.names()
        self._tell("hidden", f"image {image}", "no node has it any more")
        for node in nodes:
            self._nodes.hide_image(node, image)

        def back() -> None:
            for node in nodes:
                self._nodes.show_image(node, image)
            self._tell("ended", f"image {image}", "the nodes have it again")

        return back

    def use_up_quota(self, namespace: str, deadline: Deadline) -> Undo:
        """Let a namespace have no more Pods than it has now."""
        count = len([pod for pod in self._kube.list("v1/Pod", namespace) if _counts(pod)])
        self._tell("quota", f"quota {namespace}/{QUOTA}", f"no more than {count} Pods")
        quota = {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": QUOTA, "namespace": namespace, "labels": run_labels(self._run_id)},
            "spec": {"hard": {"pods": str(count)}},
        }
        self._kube.apply(quota)

        def counted(found: Object) -> bool:
            return "pods" in found.get("status", {}).get("used", {})

        self._kube.wait_for(
            "v1/ResourceQuota", QUOTA, namespace, counted, what=f"quota {namespace}/{QUOTA} counted", deadline=deadline
        )

        def lift() -> None:
            self._kube.delete("v1/ResourceQuota", QUOTA, namespace)
            self._tell("ended", f"quota {namespace}/{QUOTA}", "lifted")

        return lift

    def stop_webhook(self, namespace: str, deployment: str) -> Undo:
        """Let nobody answer for a webhook: its Deployment has no Pods until this is undone."""
        found = self._kube.get("apps/v1/Deployment", deployment, namespace)
        before = int(found["spec"].get("replicas", 1))
        labels = ",".join(f"{key}={text}" for key, text in found["spec"]["selector"]["matchLabels"].items())
        self._tell("webhook", f"deployment/{deployment}", f"no Pods in {namespace}")
        self._scale(namespace, deployment, 0)
        for pod in self._kube.list("v1/Pod", namespace, labels=labels):
            self._kube.delete("v1/Pod", pod["metadata"]["name"], namespace, grace_s=0)

        def start() -> None:
            self._scale(namespace, deployment, before)
            self._kube.wait_rolled_out("apps/v1/Deployment", deployment, namespace, Deadline.after(BACK_S))
            self._tell("ended", f"deployment/{deployment}", f"{before} Pods again")

        return start

    def _scale(self, namespace: str, deployment: str, replicas: int) -> None:
        self._kube.patch("apps/v1/Deployment", deployment, {"spec": {"replicas": replicas}}, namespace)

    def _is_back(self, before: Mapping[str, int]) -> bool:
        try:
            self._kube.server.text("GET", "/readyz", timeout_s=2.0)
            pods = self._kube.list("v1/Pod", "kube-system", labels=API_SERVER)
        except RequestFailed:
            return False
        return all(_restarts(pod) > before.get(pod["metadata"]["name"], -1) and _is_ready(pod) for pod in pods)

    def _cordon(self, node: str, cordoned: bool) -> None:
        self._kube.patch("v1/Node", node, {"spec": {"unschedulable": cordoned}})

    def _evictable(self, node: str, namespace: str) -> list[Object]:
        pods = self._kube.list("v1/Pod", namespace, fields=f"spec.nodeName={node}")
        return [pod for pod in pods if not _stays(pod)]

    def _evict(self, pod: Object) -> bool:
        """Whether the Pod is gone or going; False while a budget protects it."""
        metadata = pod["metadata"]
        name = {"name": metadata["name"], "namespace": metadata["namespace"]}
        path = f"/api/v1/namespaces/{name['namespace']}/pods/{name['name']}/eviction"
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": name}
        try:
            self._kube.server.json("POST", path, body=body, what=f"pods/eviction {name['name']!r}")
        except RequestFailed as error:
            if error.status not in (404, 429):
                raise
            return error.status == 404
        return True

    def _tell(self, what: str, subject: str, message: str) -> None:
        self._events.emit(f"fault.{what}", subject, message, level="warning")


def _stays(pod: Object) -> bool:
    """Mirror Pods and those of DaemonSets come back at once; a drain leaves them."""
    owners = [owner.get("kind") for owner in pod["metadata"].get("ownerReferences") or ()]
    return "DaemonSet" in owners or "Node" in owners or bool(pod["metadata"].get("deletionTimestamp"))


def _counts(pod: Object) -> bool:
    """A quota counts what has not ended."""
    return pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")


def _restarts(pod: Object) -> int:
    return sum(int(each.get("restartCount", 0)) for each in pod.get("status", {}).get("containerStatuses") or ())


def _is_ready(pod: Object) -> bool:
    return all(each.get("ready") for each in pod.get("status", {}).get("containerStatuses") or ())
