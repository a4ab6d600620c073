"""Pods and Services by way of the API server: logs, programs run in containers, proxied GETs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.clients._kubernetes_http import ApiServer, Stream, failure
from harness.errors import RequestFailed

if TYPE_CHECKING:
    from kubernetes.client import ApiClient


@dataclass(frozen=True)
class Executed:
    """What a command in a container wrote, and its exit code."""

    code: int
    stdout: str
    stderr: str


class Pods:
    """Calls on Pods and Services."""

    server: ApiServer

    def logs(
        self,
        pod: str,
        namespace: str,
        *,
        container: str | None = None,
        previous: bool = False,
        tail: int | None = None,
    ) -> str:
        """A container's log, the last `tail` lines of it; RequestFailed 400 if there is none yet."""
        query = {"container": container, "previous": previous or None, "tailLines": tail}
        return self.server.text("GET", _pod(namespace, pod, "log"), query=query, what=_log_of(pod, namespace))

    def follow(
        self,
        pod: str,
        namespace: str,
        *,
        container: str | None = None,
        since: str | None = None,
        previous: bool = False,
        silence_s: float = 300,
    ) -> Stream:
        """A container's log as it grows, each line behind its RFC 3339 time and a space; from such a time on.

        `previous`: the whole log of the container before its last restart instead.
        """
        query = {"container": container, "timestamps": True, "sinceTime": since}
        query |= {"previous": True} if previous else {"follow": True}
        return self.server.stream(_pod(namespace, pod, "log"), query=query, read_s=silence_s)

    def exec(
        self, pod: str, namespace: str, argv: Sequence[str], *, container: str | None = None, timeout_s: float = 30.0
    ) -> Executed:
        """Run a program in a container and wait for its end; RequestFailed if it cannot be started or does not end."""
        return _execute(self.server.api, pod, namespace, argv, container, timeout_s)

    def pod_get(self, pod: str, namespace: str, port: int, path: str, *, timeout_s: float | None = None) -> str:
        """The body of a GET that the API server makes to a Pod's port."""
        where = _pod(f"{namespace}", f"{pod}:{port}", f"proxy/{path.lstrip('/')}")
        what = f"pods/proxy {pod!r} in namespace {namespace!r}"
        return self.server.text("GET", where, timeout_s=timeout_s, what=what)

    def service_get(self, service: str, namespace: str, port: int, path: str, *, timeout_s: float | None = None) -> str:
        """The body of a GET that the API server makes to one of a Service's Pods."""
        where = f"/api/v1/namespaces/{namespace}/services/{service}:{port}/proxy/{path.lstrip('/')}"
        what = f"services/proxy {service!r} in namespace {namespace!r}"
        return self.server.text("GET", where, timeout_s=timeout_s, what=what)


def _execute(
    api: ApiClient, pod: str, namespace: str, argv: Sequence[str], container: str | None, timeout_s: float
) -> Executed:
    from kubernetes.client import ApiClient, ApiException, CoreV1Api
    from kubernetes.stream import stream

    what = f"pods/exec {pod!r} in namespace {namespace!r}"
    # The official client swaps its transport while a stream opens: a client of its own, so that no other call is hit.
    core = CoreV1Api(ApiClient(configuration=api.configuration))
    named = {"container": container} if container else {}
    flags = {"stdin": False, "stdout": True, "stderr": True, "tty": False, "_preload_content": False}
    try:
        socket = stream(core.connect_get_namespaced_pod_exec, pod, namespace, command=list(argv), **flags, **named)
    except ApiException as error:
        denied = "403" in str(error.reason or "")
        raise failure("POST", what, 403 if denied else None, error.reason) from error
    try:
        socket.run_forever(timeout=timeout_s)
        if socket.is_open():
            raise RequestFailed(f"POST {what}: {argv[0]} did not end within {timeout_s:g} s")
        return Executed(socket.returncode or 0, socket.read_stdout(timeout=0), socket.read_stderr(timeout=0))
    except (KeyError, TypeError, ValueError) as error:
        raise RequestFailed(f"POST {what}: {argv[0]} could not be run: {error}") from error
    finally:
        socket.close()
        socket.sock.shutdown()  # its close leaves the connection open where the server closed first


def _pod(namespace: str, pod: str, subresource: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods/{pod}/{subresource}"


def _log_of(pod: str, namespace: str) -> str:
    return f"pods/log {pod!r} in namespace {namespace!r}"
