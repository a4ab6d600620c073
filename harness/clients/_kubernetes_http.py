"""One call of a Kubernetes API server: the official client's connection, our timeouts, one-line errors."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from harness.errors import AccessDenied, ConfigError, RequestFailed

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

CONNECT_S = 5.0
_READY, _READY_S, _STARTS_S = "/readyz", 5.0, 60.0
_BODY_SHOWN = 500
_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Stream:
    """Lines of an answer that goes on; `close`, from any thread, ends the iteration."""

    def __init__(self, response: Any) -> None:
        self._response = response
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> Iterator[str]:
        """The lines without their ends; ends when the server does, at the read timeout, or at `close`."""
        from urllib3.exceptions import HTTPError

        rest = b""
        try:
            for block in self._response.stream(amt=65536, decode_content=False):
                *lines, rest = (rest + block).split(b"\n")
                yield from (line.decode("utf-8", "replace") for line in lines)
        except (HTTPError, OSError, ValueError, AttributeError):
            # A connection that ends in the middle ends the lines; what came of the last one is no line.
            return
        if rest and not self._closed:
            yield rest.decode("utf-8", "replace")

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            # close() alone would wait for a reader that is blocked in another thread.
            shutdown = getattr(self._response, "shutdown", None)
            if shutdown is not None and getattr(self._response, "_sock_shutdown", True):
                with contextlib.suppress(RuntimeError):  # the answer had ended, and its connection is another's by now
                    shutdown()
            self._response.close()


class ApiServer:
    """Calls by path; every one ends within its timeout."""

    def __init__(self, api: ApiClient, *, timeout_s: float = 15.0) -> None:
        self.api = api
        self.timeout_s = timeout_s
        self._lost_at = -math.inf

    @classmethod
    def connect(cls, kubeconfig: Path | None, context: str | None, *, timeout_s: float = 15.0) -> Self:
        """The server of a kubeconfig's context (default: its current one); ConfigError if there is none."""
        from kubernetes import config
        from kubernetes.client import ApiClient, Configuration
        from kubernetes.config.config_exception import ConfigException

        found = Configuration()
        try:
            config.load_kube_config(
                config_file=str(kubeconfig) if kubeconfig else None, context=context, client_configuration=found
            )
        except (ConfigException, OSError) as error:
            raise ConfigError(_cannot_load(kubeconfig, context, error), hint=_contexts_hint(kubeconfig)) from error
        if "//127.0.0.1" in found.host or "//localhost" in found.host:
            found.proxy = None
        return cls(ApiClient(configuration=found), timeout_s=timeout_s)

    @classmethod
    def in_cluster(cls, *, timeout_s: float = 15.0) -> Self:
        """The server of the cluster that this Pod runs in, as its service account."""
        from kubernetes import config
        from kubernetes.client import ApiClient, Configuration
        from kubernetes.config.config_exception import ConfigException

        found = Configuration()
        try:
            config.load_incluster_config(client_configuration=found)
        except ConfigException as error:
            raise ConfigError(f"This is no Pod with a service account: {error}") from error
        return cls(ApiClient(configuration=found), timeout_s=timeout_s)

    def close(self) -> None:
        """Close the connections, too: the official client leaves that to the garbage collector."""
        self.api.close()
        self.api.rest_client.pool_manager.clear()

    def json(self, method: str, path: str, **options: Any) -> Any:
        """The answer's JSON; see `text` for options and errors."""
        return json.loads(self.text(method, path, **options))

    def text(self, method: str, path: str, **options: Any) -> str:
        """The answer's body. Errors: AccessDenied for 403, RequestFailed for others and for none (status None)."""
        from urllib3.exceptions import HTTPError

        response = self.open(method, path, **options)
        try:
            return str(response.data.decode("utf-8", "replace"))
        except HTTPError as error:
            raise RequestFailed(f"{method} {path}: {type(error).__name__}: {error}") from error
        finally:
            response.release_conn()

    def stream(self, path: str, *, query: Mapping[str, Any], read_s: float) -> Stream:
        """A GET whose answer goes on; `read_s` is the longest silence."""
        return Stream(self.open("GET", path, query=query, timeout_s=read_s))

    def open(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        content: str = "application/json",
        timeout_s: float | None = None,
        what: str = "",
    ) -> Any:
        """The open urllib3 response of one call; `what` names the resource in errors."""
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        try:
            return self.api.call_api(
                path,
                method,
                query_params=[(key, _text(value)) for key, value in (query or {}).items() if value is not None],
                header_params={"Accept": "application/json, */*", "Content-Type": content},
                body=body,
                auth_settings=["BearerToken"],
                _return_http_data_only=True,
                _preload_content=False,
                _request_timeout=(CONNECT_S, timeout_s or self.timeout_s),
            )
        except ApiException as error:
            if error.status == 403 and path != _READY and self._is_starting():
                raise RequestFailed(f"{method} {what or path}: the API server is starting", status=503) from error
            raise failure(method, what or path, error.status, error.body) from error
        except (HTTPError, OSError) as error:
            self._lost_at = time.monotonic()
            where = f"{method} {self.api.configuration.host}{path}"
            raise RequestFailed(f"{where}: {type(error).__name__}: {error}") from error

    def _is_starting(self) -> bool:
        """Whether the server was away a moment ago and is not ready: until it has its roles it refuses everybody."""
        if time.monotonic() - self._lost_at > _STARTS_S:
            return False
        try:
            self.text("GET", _READY, timeout_s=_READY_S)
        except (RequestFailed, AccessDenied):
            return True
        return False


def failure(method: str, what: str, status: int | None, body: Any) -> RequestFailed | AccessDenied:
    """The error of an answer: 403 names the verb and the resource."""
    reason = _reason(body)
    if status == 403:
        return AccessDenied(
            f"Not allowed: {_VERBS.get(method, method)} {what}: {reason}",
            hint="ask for a role that allows it, or name other credentials; docs/access.md has the roles",
        )
    return RequestFailed(f"{method} {what} answered {status}: {reason}", status=status)


def _reason(body: Any) -> str:
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or "")
    try:
        message = json.loads(text).get("message", text)
    except (ValueError, AttributeError):
        message = text
    return " ".join(str(message).split())[:_BODY_SHOWN]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _cannot_load(kubeconfig: Path | None, context: str | None, error: Exception) -> str:
    where = kubeconfig or "the default kubeconfig"
    named = f" with context {context!r}" if context else ""
    return f"{where}{named} cannot be used: {' '.join(str(error).split())}"


def _contexts_hint(kubeconfig: Path | None) -> str:
    from kubernetes import config
    from kubernetes.config.config_exception import ConfigException

    try:
        contexts, _ = config.list_kube_config_contexts(config_file=str(kubeconfig) if kubeconfig else None)
    except (ConfigException, OSError):
        return "name a kubeconfig with --kubeconfig"
    return f"its contexts are {', '.join(sorted(found['name'] for found in contexts))}"
