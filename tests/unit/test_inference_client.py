"""The inference client over a fake transport: what it sends, what it accepts, how it reports errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from harness.clients.inference import InferenceClient, tensors
from harness.errors import RequestFailed

Handler = Callable[[httpx.Request], httpx.Response]


def model(handler: Handler) -> InferenceClient:
    transport = httpx.MockTransport(handler)
    return InferenceClient("http://127.0.0.1:1", "m-default.example.com", "m", transport=transport)


def answering(status: int = 200, **body: Any) -> Handler:
    return lambda request: httpx.Response(status, json=body, headers={"x-served-by": "v2", "x-request-id": "a-1"})


def test_v1_sends_instances_to_the_services_host() -> None:
    """Rows keep their form, and the Host header is what the gateway routes by."""
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return answering(predictions=[0.25, 1])(request)

    with model(handler) as service:
        answer = service.ask([[1, 2.5], {"a": 1}])
    assert (answer.predictions, answer.revision, answer.request_id) == ([0.25, 1.0], "v2", "a-1")
    assert seen[0].headers["host"] == "m-default.example.com"
    assert seen[0].url.path == "/v1/models/m:predict"
    assert json.loads(seen[0].content) == {"instances": [[1, 2.5], {"a": 1}]}


def test_v2_reads_the_output_named_predict() -> None:
    """Other outputs are left alone."""
    outputs = [{"name": "other", "data": [9, 9]}, {"name": "predict", "data": [0.5, 0.75]}]
    with model(answering(outputs=outputs)) as service:
        assert service.predict([[1, 2], [3, 4]], "v2") == [0.5, 0.75]


def test_plain_rows_are_one_tensor_and_named_rows_one_tensor_a_column() -> None:
    """Shapes and data types follow protocol V2."""
    assert tensors([[1, 2, 3], [4, 5, 6]]) == [
        {"name": "input-0", "shape": [2, 3], "datatype": "FP64", "data": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}
    ]
    assert tensors([{"a": 1, "b": 0.5, "c": "x"}, {"a": 2, "b": 1, "c": "y"}]) == [
        {"name": "a", "shape": [2], "datatype": "INT64", "data": [1, 2]},
        {"name": "b", "shape": [2], "datatype": "FP64", "data": [0.5, 1]},
        {"name": "c", "shape": [2], "datatype": "BYTES", "data": ["x", "y"]},
    ]


def test_numpy_values_are_sent_as_numbers() -> None:
    """Rows of a data frame hold numpy scalars, which JSON does not know."""
    import numpy as np

    def handler(request: httpx.Request) -> httpx.Response:
        assert json.loads(request.content) == {"instances": [{"a": 3, "b": 0.5}]}
        return answering(predictions=[1.0])(request)

    with model(handler) as service:
        assert service.predict([{"a": np.int64(3), "b": np.float64(0.5)}]) == [1.0]


@pytest.mark.parametrize(
    ("handler", "status", "words"),
    [
        (answering(400, error="column 'age' is missing"), 400, "column 'age' is missing"),
        (lambda request: httpx.Response(503, text="no healthy upstream"), 503, "503: no healthy upstream"),
        (lambda request: httpx.Response(413), 413, "answered 413"),
        (answering(predictions=[1.0, 2.0]), 200, "2 predictions for 1 rows"),
        (answering(result=1), 200, "not an answer of protocol v1"),
        (answering(predictions=["high"]), 200, "not an answer of protocol v1"),
        (lambda request: httpx.Response(200, text="<html>"), 200, "not an answer of protocol v1: <html>"),
    ],
)
def test_an_error_carries_the_status_and_the_servers_reason(handler: Handler, status: int, words: str) -> None:
    """KServe's JSON errors, Envoy's plain text, and answers that are none."""
    with model(handler) as service, pytest.raises(RequestFailed) as caught:
        service.predict([[1]])
    assert caught.value.status == status
    assert words in str(caught.value)


def test_no_answer_is_an_error_without_a_status() -> None:
    """The gateway is gone."""

    def handler(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with model(handler) as service, pytest.raises(RequestFailed, match="ConnectError: refused") as caught:
        service.predict([[1]])
    assert caught.value.status is None
