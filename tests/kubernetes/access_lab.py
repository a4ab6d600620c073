"""Calls of the access matrix, made with the tokens of service accounts."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.backends.kubernetes.access import Cell, Resource
from harness.clients._kubernetes_http import ApiServer
from harness.clients.kubernetes import Kube
from harness.errors import AccessDenied, RequestFailed
from harness.runtime.clock import Deadline

NAME = "tried"
TOKEN_S = 600
WEBHOOK_S = 20.0
_METHODS = {"get": "GET", "create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE"}
_METHODS |= {"list": "GET", "watch": "GET", "deletecollection": "DELETE"}
_OF_MANY = ("list", "watch", "create", "deletecollection")

# What is created in a dry run, for each resource that somebody may create.
BODIES: Mapping[str, Mapping[str, Any]] = {
    "configmaps": {"kind": "ConfigMap"},
    "persistentvolumeclaims": {
        "kind": "PersistentVolumeClaim",
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    },
    "jobs": {
        "kind": "Job",
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "a:1"}]}}},
    },
    "httproutes": {"kind": "HTTPRoute", "spec": {"hostnames": ["tried.example.com"]}},
    "trainjobs": {"kind": "TrainJob", "spec": {"runtimeRef": {"name": "none"}}},
    "inferenceservices": {
        "kind": "InferenceService",
        "spec": {"predictor": {"model": {"modelFormat": {"name": "mlflow"}, "storageUri": "models:/tried/1"}}},
    },
}


@dataclass(frozen=True)
class Outcome:
    """What came of a call: refused by RBAC for this very verb and resource, or else the answer's status."""

    refused: bool
    status: int
    message: str = ""


def with_token(admin: Kube, namespace: str, account: str) -> Kube:
    """A client that has nothing but a fresh token of a service account (TokenRequest)."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    kind = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}
    made = admin.server.json("POST", path, body={**kind, "spec": {"expirationSeconds": TOKEN_S}})
    from kubernetes.client import ApiClient

    configuration = copy.copy(admin.server.api.configuration)
    configuration.cert_file = configuration.key_file = None
    configuration.api_key = {"authorization": f"Bearer {made['status']['token']}"}
    configuration.api_key_prefix = {}
    configuration.refresh_api_key_hook = None
    return Kube(ApiServer(ApiClient(configuration=configuration)))


def ask(kube: Kube, cell: Cell, namespace: str) -> Outcome:
    """Make the call of a cell in a namespace; what would change something is a dry run.

    A webhook that has just been installed is not reached from everywhere at once: then it is asked again.
    """
    deadline = Deadline.after(WEBHOOK_S)
    while True:
        outcome = _asked(kube, cell, namespace)
        if outcome.status != 500 or "failed calling webhook" not in outcome.message or deadline.passed():
            return outcome
        deadline.clock.sleep(0.2)


def _asked(kube: Kube, cell: Cell, namespace: str) -> Outcome:
    resource, verb = cell.resource, cell.verb
    query: dict[str, Any] = {}
    if verb in ("create", "update", "patch", "delete", "deletecollection"):
        query["dryRun"] = "All"
    if verb == "watch":
        query |= {"watch": True, "timeoutSeconds": 1}
    if verb == "deletecollection":
        query["labelSelector"] = "no-such-label=there"
    content = "application/merge-patch+json" if verb == "patch" else "application/json"
    body = _body(resource, namespace) if verb in ("create", "update", "patch") else None
    try:
        response = kube.server.open(
            _METHODS[verb], path(resource, verb, namespace), query=query, body=body, content=content
        )
    except AccessDenied as error:
        return Outcome(_by_rbac(error, cell), 403, error.message)
    except RequestFailed as error:
        return Outcome(False, error.status or 0, error.message)
    response.close()
    return Outcome(False, response.status)


def path(resource: Resource, verb: str, namespace: str) -> str:
    """Where a call of a verb goes; without a namespace, to the whole cluster."""
    base = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    plural, _, subresource = resource.name.partition("/")
    base = f"{base}/namespaces/{namespace}/{plural}" if namespace else f"{base}/{plural}"
    if subresource:
        return f"{base}/{NAME}/{subresource}"
    return base if verb in _OF_MANY else f"{base}/{NAME}"


def _body(resource: Resource, namespace: str) -> dict[str, Any]:
    version = f"{resource.group}/{resource.version}" if resource.group else resource.version
    body = BODIES.get(resource.name, {})
    metadata = {"name": NAME, "namespace": namespace} if namespace else {"name": NAME}
    return {"apiVersion": version, **body, "metadata": metadata}


def _by_rbac(error: AccessDenied, cell: Cell) -> bool:
    return f'cannot {cell.verb} resource "{cell.resource.name}"' in error.message
