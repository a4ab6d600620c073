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


def test_versions_are_read_over_all_pages_in_order() -> None:
    """MLflow pages and sorts newest first; numbers are strings there."""
    pages = {
        None: {
            "model_versions": [{"name": "m", "version": "10", "tags": [{"key": "a", "value": "b"}]}],
            "next_page_token": "t",
        },
        "t": {"model_versions": [{"name": "m", "version": "2"}]},
    }
    asked: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params["filter"])
        return httpx.Response(200, json=pages[request.url.params.get("page_token")])

    found = client(handler).versions("it's")
    assert [each.version for each in found] == [2, 10]
    assert found[1].tags == {"a": "b"}
    assert set(asked) == {"name='it''s'"}


def test_an_alias_is_moved_by_one_request() -> None:
    """No moment without a champion."""
    asked: list[tuple[str, str, dict[str, Any]]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append((request.method, request.url.path, json.loads(request.content)))
        return httpx.Response(200, json={})

    client(handler).set_alias("m", "champion", 3)
    path = "/api/2.0/mlflow/registered-models/alias"
    assert asked == [("POST", path, {"name": "m", "alias": "champion", "version": "3"})]


def test_an_alias_that_is_not_set_is_none_and_a_missing_model_is_an_error() -> None:
    """The two are told apart."""
    assert client(answers(200, {"registered_model": {"name": "m"}})).alias("m", "champion") is None
    with pytest.raises(RequestFailed, match=r"registered-models/get\?name=m answered 404: .*not found") as caught:
        client(answers(404, {"message": "m not found"})).alias("m", "champion")
    assert caught.value.status == 404


def test_only_not_found_means_that_there_is_no_experiment() -> None:
    """A server error must not look like a free name."""
    assert client(answers(404, {})).experiment("e") is None
    with pytest.raises(RequestFailed, match="answered 500"):
        client(answers(500, {})).experiment("e")


def test_losing_the_race_for_an_experiment_is_no_error() -> None:
    """Another process made it between our look and our making."""
    made: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("create"):
            made.append("other")
            return httpx.Response(400, json={"error_code": "RESOURCE_ALREADY_EXISTS"})
        return (
            httpx.Response(200, json={"experiment": {"experiment_id": "7"}}) if made else httpx.Response(404, json={})
        )

    assert client(handler).ensure_experiment("e") == "7"


def test_a_server_that_is_gone_is_not_healthy_and_fails_requests_by_name() -> None:
    """The address and the cause are in the message; no status, because there was no answer."""

    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused")

    assert not client(handler).healthy()
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
