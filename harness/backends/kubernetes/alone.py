"""A service that is left to KServe alone: its controller, its routes, its gateway; what our router exists to spare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from harness.backends.inference_service import InferenceService
from harness.backends.kubernetes.applied import KIND, REVISION_LABEL, SERVICE_LABEL, contents_of, service, workload_name
from harness.backends.kubernetes.install import has_condition
from harness.backends.kubernetes.lives import Life
from harness.backends.kubernetes.plan import Shape
from harness.backends.kubernetes.routes import ROUTE_KIND
from harness.clients.http import client
from harness.clients.kubernetes import Kube, Object, rolled_out
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait

GATEWAY_NAMESPACE, GATEWAY = "kserve", "kserve-ingress-gateway"
DEPLOYMENT = "apps/v1/Deployment"
GRAPH_KIND = "serving.kserve.io/v1alpha1/InferenceGraph"


class LeftToKServe:
    """Applies a document's revisions as given, in one step; requests go to `url` with the host name `host`."""

    def __init__(self, kube: Kube, document: InferenceService, labels: Mapping[str, str], url: str) -> None:
        self._kube = kube
        self._document = document
        self._labels = labels
        self.url = url

    @property
    def version(self) -> str:
        """KServe's version: its controller's image tag."""
        (found,) = self._kube.list(DEPLOYMENT, GATEWAY_NAMESPACE, fields="metadata.name=kserve-controller-manager")
        images = [each["image"] for each in found["spec"]["template"]["spec"]["containers"]]
        return str(next(image for image in images if "kserve-controller" in image)).rpartition(":")[2]

    @property
    def host(self) -> str:
        """The host name that KServe gives the service."""
        return str(urlsplit(self._found()["status"]["url"]).hostname)

    def tell(self, predictor: str, weights: Mapping[str, int] | None = None, **fields: Any) -> None:
        """Have KServe run this predictor, with these canaries and shares; `fields` are the predictor's further ones."""
        weights = weights or {}
        contents = contents_of(self._document)
        told = service(self._document, Shape(predictor, tuple(weights)), contents, weights, self._labels)
        told["spec"]["predictor"] |= fields
        self._kube.apply(told, deadline=Deadline.after(30))

    def wait_up(self, *revisions: str, deadline: Deadline) -> None:
        """Wait until the revisions' Deployments run their last template, and KServe's gateway answers for the host."""
        for revision in revisions:
            name = workload_name(self._document.name, revision)
            self._kube.wait_for(
                DEPLOYMENT, name, self._document.namespace, rolled_out, what=f"Deployment {name}", deadline=deadline
            )
        wait(self._answers, what="KServe's gateway answers", deadline=deadline, every_s=0.1)

    def pods(self, revision: str) -> set[str]:
        """The names of a revision's Pods that are not ending."""
        labels = f"{SERVICE_LABEL}={self._document.name},{REVISION_LABEL}={revision}"
        found = self._kube.list("v1/Pod", self._document.namespace, labels=labels)
        return {pod["metadata"]["name"] for pod in found if not pod["metadata"].get("deletionTimestamp")}

    def service_port(self, revision: str) -> int:
        """The port of the Pods that KServe's Service of a revision leads to."""
        found = self._kube.get("v1/Service", workload_name(self._document.name, revision), self._document.namespace)
        return int(found["spec"]["ports"][0]["targetPort"])

    def ready_pods(self, revision: str) -> int:
        """How many of a revision's Pods are ready, and not ending."""
        labels = f"{SERVICE_LABEL}={self._document.name},{REVISION_LABEL}={revision}"
        found = self._kube.list("v1/Pod", self._document.namespace, labels=labels)
        return sum(each.ready and not each.ending for each in map(Life.of, found))

    def routed_to(self, revision: str) -> str:
        """The host name that an HTTPRoute of KServe's leads to a revision alone; "" if there is no such route."""
        found = self._kube.find(ROUTE_KIND, workload_name(self._document.name, revision), self._document.namespace)
        return str(found["spec"]["hostnames"][0]) if found else ""

    def wait_gone(self, revision: str, deadline: Deadline) -> None:
        """Wait until KServe has removed a revision's Deployment and its Service."""
        name, namespace = workload_name(self._document.name, revision), self._document.namespace
        for kind in (DEPLOYMENT, "v1/Service"):
            self._kube.wait_deleted(kind, name, namespace, deadline)

    def status_of(self, host: str) -> int:
        """What KServe's gateway answers for a host name."""
        with client(self.url, timeout_s=5.0) as http:
            return http.get(f"/v1/models/{self._document.name}", headers={"host": host}).status_code

    def tell_graph(self, name: str) -> None:
        """Have KServe run an InferenceGraph whose one step is the service.

        Its router's Pod names no seccomp profile, which a namespace with Pod Security `restricted` refuses.
        """
        lax = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}}
        self._kube.patch("v1/Namespace", self._document.namespace, lax)
        version, _, kind = GRAPH_KIND.rpartition("/")
        graph = {
            "apiVersion": version,
            "kind": kind,
            "metadata": {"name": name, "namespace": self._document.namespace, "labels": dict(self._labels)},
            "spec": {"nodes": {"root": {"routerType": "Sequence", "steps": [{"serviceName": self._document.name}]}}},
        }
        self._kube.apply(graph, deadline=Deadline.after(30))

    def wait_graph_ready(self, name: str, deadline: Deadline) -> str:
        """Wait until KServe says that a graph is ready; the host name that its status tells."""
        found = self._kube.wait_for(
            GRAPH_KIND,
            name,
            self._document.namespace,
            lambda graph: "url" in graph.get("status", {}) and has_condition(graph, "Ready"),
            what=f"InferenceGraph {name}",
            deadline=deadline,
        )
        return str(urlsplit(found["status"]["url"]).hostname)

    def routes_to(self, service: str) -> int:
        """How many HTTPRoutes of the namespace lead to a Service."""
        routes = self._kube.list(ROUTE_KIND, self._document.namespace)
        rules = [rule for route in routes for rule in route["spec"].get("rules", ())]
        return sum(service == end["name"] for rule in rules for end in rule.get("backendRefs", ()))

    def delete(self) -> None:
        """Remove the service and its graphs; their Pods end by themselves."""
        for graph in self._kube.list(GRAPH_KIND, self._document.namespace):
            self._kube.delete(GRAPH_KIND, graph["metadata"]["name"], self._document.namespace)
        self._kube.delete(KIND, self._document.name, self._document.namespace)

    def _found(self) -> Object:
        return self._kube.get(KIND, self._document.name, self._document.namespace)

    def _answers(self) -> bool:
        if "url" not in self._found().get("status", {}):
            return False
        return self.status_of(self.host) == 200
