"""What an Envoy of Envoy Gateway holds: its configuration and its upstreams, from an admin port of its own."""

from __future__ import annotations

import http.client
import json
import socket
from typing import TYPE_CHECKING, Any

from harness.backends.kubernetes.diagnostics.masked import masked
from harness.errors import RequestFailed

if TYPE_CHECKING:
    from harness.clients.kubernetes import Kube

PROXIES = "app.kubernetes.io/managed-by=envoy-gateway,app.kubernetes.io/component=proxy"
ADMIN_PORT = 19000
READ_S = 10.0


def config_dump(kube: Kube, pod: str, namespace: str) -> str:
    """The whole configuration as JSON, without its secrets; RequestFailed if it cannot be reached."""
    return json.dumps(without_secrets(json.loads(admin_get(kube, pod, namespace, "/config_dump"))), indent=1)


def without_secrets(dump: dict[str, Any]) -> dict[str, Any]:
    """A configuration dump without the part that holds keys, and masked."""
    configs = [each for each in dump.get("configs", ()) if not str(each.get("@type")).endswith("SecretsConfigDump")]
    return masked({"configs": configs})


def admin_get(kube: Kube, pod: str, namespace: str, path: str) -> str:
    """GET from Envoy's admin port through a port-forward; RequestFailed if that is refused, or ends early."""
    from kubernetes.client import ApiClient, ApiException, CoreV1Api
    from kubernetes.stream import portforward

    what = f"pods/portforward {pod!r} in namespace {namespace!r}"
    # The official client swaps its transport for the length of a stream: a client of its own, which no thread uses.
    core = CoreV1Api(ApiClient(configuration=kube.server.api.configuration))
    try:
        forward = portforward(core.connect_get_namespaced_pod_portforward, pod, namespace, ports=str(ADMIN_PORT))
    except ApiException as error:
        raise RequestFailed(f"GET {what}: {error.reason}", status=error.status or None) from error
    try:
        return _get(forward.socket(ADMIN_PORT), path)
    except (OSError, http.client.HTTPException, ValueError) as error:
        told = forward.error(ADMIN_PORT) or error
        raise RequestFailed(f"GET {what}: {' '.join(str(told).split())}") from error
    finally:
        forward.close()


def _get(forwarded: socket.socket, path: str) -> str:
    forwarded.settimeout(READ_S)
    connection = http.client.HTTPConnection("127.0.0.1", timeout=READ_S)
    connection.sock = forwarded
    connection.request("GET", path, headers={"Connection": "close"})
    return connection.getresponse().read().decode("utf-8", "replace")
