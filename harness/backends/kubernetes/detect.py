"""What a cluster has of what the platform needs, and in which versions; read with as few permissions as possible."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.backends.backend import Part
from harness.backends.kubernetes.world import GATEWAY, SYSTEM
from harness.errors import AccessDenied, RequestFailed

if TYPE_CHECKING:
    from harness.clients.kubernetes import Kube

OLDEST_KSERVE = "0.20"
"""The first version whose InferenceService has `spec.canary[]`."""
HIDDEN, UNKNOWN = "hidden from these credentials", "of unknown version"
_CANARY = "/openapi/v3/apis/serving.kserve.io/v1beta1"


@dataclass(frozen=True)
class Found:
    """Versions; "" is what is not there. A version that may not be read is HIDDEN."""

    kubernetes: str
    gateway_api: str = ""
    envoy_gateway: str = ""
    kserve: str = ""
    canaries: bool = False
    """Whether KServe's InferenceService has `spec.canary[]`."""
    gateway: bool = False
    """Whether our Gateway is there."""
    serving: bool = False
    """Whether the runtime rehearsal-mlflow is there."""
    prometheus: bool = False
    alertmanager: bool = False
    resource_metrics: bool = False
    """Whether the API that autoscalers ask for CPU and memory is served, as by metrics-server."""
    trainer: bool = False
    """Whether Kubeflow Trainer is there, with our runtime."""
    others: Mapping[str, str] = field(default_factory=dict)
    """The versions of what runs without being asked for by name: of Prometheus, metrics-server and the like."""

    def versions(self) -> dict[str, str]:
        """What there is, by name."""
        named = {
            "kubernetes": self.kubernetes,
            "gateway-api": self.gateway_api,
            "envoy-gateway": self.envoy_gateway,
            "kserve": self.kserve,
        }
        return {name: version for name, version in {**named, **self.others}.items() if version}

    def lacks(self) -> dict[Part, str]:
        """Why a part cannot be had here, in a line; nothing of what can."""
        reasons = {
            Part.SERVING: self._serving(),
            Part.METRICS: "" if self.prometheus else _no_prometheus(),
            Part.AUTOSCALING: "" if self.resource_metrics else _NO_RESOURCE_METRICS,
            Part.TRAINER: "" if self.trainer else _NO_TRAINER,
        }
        return {part: reason for part, reason in reasons.items() if reason}

    def there(self) -> dict[str, bool]:
        """Whether what --install brings, of manifests/system, is there."""
        return {
            "gateway-api": bool(self.gateway_api),
            "envoy-gateway": bool(self.envoy_gateway),
            "gateway": self.gateway,
            "kserve-gateway": bool(self.kserve),
            "kserve": bool(self.kserve),
            "serving": self.serving,
            "prometheus": self.prometheus,
            "alertmanager": self.alertmanager,
            "metrics-server": self.resource_metrics,
        }

    def components(self) -> list[str]:
        """What --install would have to bring."""
        return [name for name, there in self.there().items() if not there]

    def _serving(self) -> str:
        if not self.kserve:
            return f"KServe is missing: {OLDEST_KSERVE} or later is needed"
        if not self.canaries:
            return f"KServe {self.kserve} is too old: {OLDEST_KSERVE} or later is needed (spec.canary)"
        for there, what in ((self.gateway_api, "the Gateway API"), (self.envoy_gateway, "Envoy Gateway")):
            if not there:
                return f"{what} is missing"
        if not self.gateway:
            return f"the Gateway {SYSTEM}/{GATEWAY} is missing"
        return "" if self.serving else "the ClusterServingRuntime rehearsal-mlflow is missing"


def _no_prometheus() -> str:
    return f"there is no Prometheus with our recording rules (Service {SYSTEM}/prometheus)"


INSTALL = "have an administrator run it once with --install"
HOW = {Part.TRAINER: "docs/kubeflow.md says how an administrator brings it"}
"""How to get a part that --install does not bring."""

_NO_TRAINER = "Kubeflow Trainer with the ClusterTrainingRuntime rehearsal is missing"
_NO_RESOURCE_METRICS = "metrics-server is missing (API metrics.k8s.io)"
_OTHERS = {
    "prometheus": ("prometheus", SYSTEM, ""),
    "alertmanager": ("alertmanager", SYSTEM, ""),
    "metrics-server": ("metrics-server", "kube-system", "metrics.k8s.io"),
    "trainer": ("kubeflow-trainer-controller-manager", "kubeflow-system", "trainer.kubeflow.org"),
    "jobset": ("jobset-controller-manager", "jobset-system", "jobset.x-k8s.io"),
}
"""The Deployment, its namespace, and the API group that tells whether it can be there at all."""
_RUNTIME = "trainer.kubeflow.org/v1alpha1/ClusterTrainingRuntime"


def detect(kube: Kube) -> Found:
    """Look at a cluster; what may not be read is taken for there if its API is served."""
    groups = {each["name"] for each in kube.server.json("GET", "/apis")["groups"]}
    kserve = "serving.kserve.io" in groups
    gateway_api = "gateway.networking.k8s.io" in groups
    return Found(
        kubernetes=kube.version(),
        gateway_api=_crd_version(kube, "gateways.gateway.networking.k8s.io") if gateway_api else "",
        envoy_gateway=_image_version(kube, "envoy-gateway", "envoy-gateway-system", "gateway.envoyproxy.io" in groups),
        kserve=_image_version(kube, "kserve-controller-manager", "kserve", kserve),
        canaries=kserve and has_canaries(_schema(kube)),
        gateway=gateway_api and _there(kube, "gateway.networking.k8s.io/v1/Gateway", GATEWAY, SYSTEM),
        serving=kserve and _there(kube, "serving.kserve.io/v1alpha1/ClusterServingRuntime", "rehearsal-mlflow", None),
        prometheus=_there(kube, "v1/Service", "prometheus", SYSTEM),
        alertmanager=_there(kube, "v1/Service", "alertmanager", SYSTEM),
        resource_metrics="metrics.k8s.io" in groups,
        trainer="trainer.kubeflow.org" in groups and _there(kube, _RUNTIME, "rehearsal", None),
        others={
            name: _image_version(kube, deployment, namespace, not group or group in groups, nameless=bool(group))
            for name, (deployment, namespace, group) in _OTHERS.items()
        },
    )


def _schema(kube: Kube) -> Mapping[str, Any]:
    """What the server publishes of InferenceServices; nothing where it serves an older API of them."""
    try:
        found: Mapping[str, Any] = kube.server.json("GET", _CANARY)
    except RequestFailed as error:
        if error.status != 404:
            raise
        return {}
    return found


def has_canaries(openapi: Mapping[str, Any]) -> bool:
    """Whether the schema of an InferenceService has `spec.canary`."""
    schemas: Mapping[str, Any] = openapi.get("components", {}).get("schemas", {})
    for name, schema in schemas.items():
        if name.endswith(".InferenceService"):
            return "canary" in schema.get("properties", {}).get("spec", {}).get("properties", {})
    return False


def tag(image: str) -> str:
    """The tag of an image's name, "" if it has none."""
    found = re.search(r":([\w.-]+)(?:@|$)", image.rpartition("/")[2])
    return found[1] if found else ""


def _image_version(kube: Kube, deployment: str, namespace: str, served: bool, *, nameless: bool = True) -> str:
    """The tag of a Deployment's image; `nameless`: whether it may be there under a name of its owner's choice."""
    if not served:
        return ""
    try:
        found = kube.find("apps/v1/Deployment", deployment, namespace)
    except AccessDenied:
        return HIDDEN
    if found is None:
        return UNKNOWN if nameless else ""
    return tag(found["spec"]["template"]["spec"]["containers"][0]["image"]) or UNKNOWN


def _crd_version(kube: Kube, name: str) -> str:
    try:
        found = kube.find("apiextensions.k8s.io/v1/CustomResourceDefinition", name)
    except AccessDenied:
        return HIDDEN
    annotations: Mapping[str, str] = (found or {}).get("metadata", {}).get("annotations", {})
    return annotations.get("gateway.networking.k8s.io/bundle-version", UNKNOWN)


def _there(kube: Kube, kind: str, name: str, namespace: str | None) -> bool:
    try:
        return kube.find(kind, name, namespace) is not None
    except AccessDenied:
        return True  # it shows when it is used, with the verb and the resource
    except RequestFailed as error:
        if error.status == 404:
            return False
        raise
