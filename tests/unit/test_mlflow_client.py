"""The registry client: what it asks of MLflow, and what it makes of the answers and of errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from harness.clients import http
from harness.clients.mlflow import MLflowClient
from harness.errors import RequestFailed

Handler = Callable[[httpx.Request], httpx.Response]


def client(handler: Handler) -> MLflowClient:
    transport = httpx.MockTransport(handler)
    return MLflowClient("http://mlflow", http_client=http.client("http://mlflow", transport=transport))


def answers(status: int, body: dict[str, Any]) -> Handler:
    return lambda request: httpx.Response(status, json=body)


def test_an_alias_is_moved_by_one_request() -> None:
    """No moment without a champion."""
    asked: list[tuple[str, str, dict[str, Any]]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append((request.method, request.url.path, json.loads(request.content)))
        return httpx.Response(200, json={})

    client(handler).set_alias("m", "champion", 3)
    path = "/api/2.0/mlflow/registered-models/alias"
    assert asked == [("POST", path, {"name": "m", "alias": "champion", "version": "3"})]


def test_aliases_are_versions_by_name_and_a_missing_model_is_an_error() -> None:
    """Numbers are strings in MLflow; a model without aliases is not one that is not there."""
    told = {"registered_model": {"name": "m", "aliases": [{"alias": "champion", "version": "3"}]}}
    assert client(answers(200, told)).aliases("m") == {"champion": 3}
    assert client(answers(200, {"registered_model": {"name": "m"}})).aliases("m") == {}
    with pytest.raises(RequestFailed, match=r"registered-models/get\?name=m answered 404: .*not found") as caught:
        client(answers(404, {"message": "m not found"})).aliases("m")
    assert caught.value.status == 404


def test_a_server_that_is_gone_fails_requests_by_name() -> None:
    """The address and the cause are in the message; no status, because there was no answer."""

    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused")

    with pytest.raises(RequestFailed, match=r"GET http://mlflow/.*runs/get: ConnectError: ") as caught:
        client(handler).run("r")
    assert caught.value.status is None


def test_every_client_has_a_timeout_and_ignores_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy variable of the machine must not catch calls to this machine."""
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:1")
    monkeypatch.setenv("ALL_PROXY", "http://proxy.example:1")
    with http.client("http://127.0.0.1:1", timeout_s=3) as made:
        assert made.timeout == httpx.Timeout(3)
        assert not made._mounts
