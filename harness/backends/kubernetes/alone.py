"""A service that is left to KServe alone: its controller, its routes, its gateway; what our router exists to spare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from harness.backends.inference_service import InferenceService
from harness.backends.kubernetes.applied import KIND, REVISION_LABEL, SERVICE_LABEL, contents_of, service, workload_name
from harness.backends.kubernetes.plan import Shape
from harness.clients.http import client
from harness.clients.kubernetes import Kube, Object, rolled_out
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait

GATEWAY_NAMESPACE, GATEWAY = "kserve", "kserve-ingress-gateway"
DEPLOYMENT = "apps/v1/Deployment"


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

    def delete(self) -> None:
        """Remove the service; its Pods end by themselves."""
        self._kube.delete(KIND, self._document.name, self._document.namespace)

    def _found(self) -> Object:
        return self._kube.get(KIND, self._document.name, self._document.namespace)

    def _answers(self) -> bool:
        if "url" not in self._found().get("status", {}):
            return False
        with client(self.url, timeout_s=5.0) as http:
            return http.get(f"/v1/models/{self._document.name}", headers={"host": self.host}).status_code == 200
