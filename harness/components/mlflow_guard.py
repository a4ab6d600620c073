"""What MLflow's own permissions cannot tell apart, in front of its application.

MLflow's EDIT on a model covers registering and every alias, EDIT on an experiment the files of its versions, and who
makes something may do anything with it. This ASGI middleware reads the few calls that matter and refuses, with 403 and
a sentence, what the matrix does not allow; all others pass. Whether a password is right stays MLflow's to say.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

from harness.lifecycle.access import ROLES, allowed

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

MOST_BYTES = 1 << 20
_PREFIXES = ("/api/2.0", "/ajax-api/2.0", "/api/3.0", "/ajax-api/3.0")
_ALIAS = "/mlflow/registered-models/alias"
_MODELS, _EXPERIMENTS, _USERS = "registered models", "experiments", "users"
_RULES = {
    "/mlflow/registered-models/create": ("register a version", _MODELS),
    "/mlflow/registered-models/rename": ("move", "alias champion"),  # takes every alias with it
    "/mlflow/registered-models/delete": ("delete a version", _MODELS),
    "/mlflow/model-versions/create": ("register a version", _MODELS),
    "/mlflow/model-versions/delete": ("delete a version", _MODELS),
    "/mlflow/model-versions/transition-stage": ("move", "alias champion"),
    "/mlflow/runs/delete": ("delete a run", _EXPERIMENTS),
    "/mlflow/experiments/delete": ("delete a run", _EXPERIMENTS),
}
"""Path -> what the matrix calls a call that changes something there."""
_ARTIFACTS = "/mlflow-artifacts/artifacts/"
_GRANTS = ("/mlflow/users/", "/mlflow/roles/")


class Guard:
    """Wraps an ASGI application; `artifacts` is the folder that its artifact proxy serves."""

    def __init__(self, app: App, artifacts: Path) -> None:
        self._app, self._artifacts = app, artifacts

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        logins = [value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"]
        if len(logins) > 1:  # two readers could take two different ones
            await _answer(send, 400, "INVALID_PARAMETER_VALUE", "expected one Authorization header")
            return
        path, role = plain(str(scope["path"])), role_of(logins[0]) if logins else ""
        if logins and not role:  # a more lenient reader than this one could take it for somebody
            await _answer(send, 400, "INVALID_PARAMETER_VALUE", "expected a Basic authorization of a user")
            return
        body, why = b"", refused(path, role, self._artifacts)
        if path == _ALIAS:
            found = await _body(receive)
            if found is None:
                await _answer(send, 413, "INVALID_PARAMETER_VALUE", f"the body is larger than {MOST_BYTES} bytes")
                return
            body, receive = found, _again(found)
            query = bytes(scope.get("query_string", b"")).decode("latin-1")
            why = alias_refused(role, _field(body, query, "alias"))
        if why:
            await _answer(send, 403, "PERMISSION_DENIED", why)
            return
        await self._app(scope, receive, send)


def refused(path: str, role: str, artifacts: Path) -> str:
    """Why a role may not change what is at a path (see `plain`); "" if the matrix has nothing against it."""
    if role not in ROLES:
        return ""
    if path in _RULES:
        verb, resource = _RULES[path]
        return "" if allowed(role, verb, resource) else f"{role} may not {verb} ({resource})"
    if path.startswith(_GRANTS) and not path.startswith("/mlflow/users/update-password"):
        return "" if allowed(role, "create", _USERS) else f"{role} may not give rights"
    if path.startswith(_ARTIFACTS) and (artifacts / path.removeprefix(_ARTIFACTS)).exists():
        verb = "change a version's files"
        return "" if allowed(role, verb, _MODELS) else f"{role} may not {verb}: what is logged stays as it is"
    return ""


def alias_refused(role: str, alias: str) -> str:
    """Why a role may not move or drop an alias."""
    if role not in ROLES or allowed(role, "move", f"alias {alias}"):
        return ""
    return f"{role} may not move the alias {alias!r}"


def role_of(authorization: str) -> str:
    """The user of a Basic authorization; "" for any other."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(encoded.strip(), validate=True).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""


def plain(path: str) -> str:
    """Without the prefix of an API, and without what a server may take for the same path."""
    path = "/" + "/".join(part for part in unquote(path).split("/") if part not in ("", "."))
    return next((path.removeprefix(prefix) for prefix in _PREFIXES if path.startswith(f"{prefix}/")), path)


def _field(body: bytes, query: str, name: str) -> str:
    """A field as MLflow reads it: of the JSON body, else of the query."""
    try:
        found = json.loads(body) if body else {}
    except ValueError:
        found = {}
    if isinstance(found, dict) and name in found:
        return str(found[name])
    return parse_qs(query).get(name, [""])[0]


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None if it is too large to be one of these calls."""
    found = bytearray()
    while True:
        message = await receive()
        found += message.get("body", b"")
        if len(found) > MOST_BYTES:
            return None
        if not message.get("more_body"):
            return bytes(found)


def _again(body: bytes) -> Receive:
    """What gives the body once more to who is behind the guard."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return left.pop() if left else {"type": "http.disconnect"}

    return receive


async def _answer(send: Send, status: int, code: str, message: str) -> None:
    """As MLflow writes an error."""
    content = json.dumps({"error_code": code, "message": message}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
