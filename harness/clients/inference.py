"""A client of the inference protocols V1 and V2, through the gateway by the service's host name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self

import httpx

from harness.clients.http import client, request
from harness.errors import RequestFailed

Protocol = Literal["v1", "v2"]
Row = Sequence[Any] | Mapping[str, Any]  # values in signature column order, or by column name

_REASON_SHOWN = 500


@dataclass(frozen=True)
class Answer:
    """The predictions for the rows that were sent, and the revision that gave them ("" if it is not said)."""

    predictions: list[float]
    revision: str
    request_id: str


class InferenceClient:
    """Asks one service for predictions; a context manager. Raises RequestFailed with the server's status and reason."""

    def __init__(
        self,
        gateway_url: str,
        host: str,
        model: str,
        *,
        key: tuple[str, str] | None = None,
        timeout_s: float = 10.0,
        **kw: Any,
    ) -> None:
        self.model = model
        self.host = host
        headers = {"host": host, **dict([key] if key else [])}
        self._http = client(gateway_url, timeout_s=timeout_s, headers=headers, **kw)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def predict(self, rows: Sequence[Row], protocol: Protocol = "v1") -> list[float]:
        """One number for each row."""
        return self.ask(rows, protocol).predictions

    def ask(self, rows: Sequence[Row], protocol: Protocol = "v1") -> Answer:
        """Predictions together with who answered."""
        response = self._post(path_of(protocol, self.model), body_of(protocol, rows))
        predictions = _predictions(response, protocol)
        if len(predictions) != len(rows):
            raise RequestFailed(
                f"{response.request.url}: {len(predictions)} predictions for {len(rows)} rows", status=200
            )
        headers = response.headers
        return Answer(predictions, headers.get("x-served-by", ""), headers.get("x-request-id", ""))

    def _post(self, path: str, body: Mapping[str, Any]) -> httpx.Response:
        return request(self._http, "POST", path, json=body)


def path_of(protocol: Protocol, model: str) -> str:
    """Where a model's predictions are asked for."""
    return f"/v1/models/{model}:predict" if protocol == "v1" else f"/v2/models/{model}/infer"


def body_of(protocol: Protocol, rows: Sequence[Row]) -> dict[str, Any]:
    """What is asked for some rows."""
    return {"instances": [_plain(row) for row in rows]} if protocol == "v1" else {"inputs": tensors(rows)}


def tensors(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """V2 input tensors: one for each named column, or a single FP64 tensor "input-0" of shape [n, k] for plain rows."""
    if rows and isinstance(rows[0], Mapping):
        named = [row for row in rows if isinstance(row, Mapping)]
        return [_column(name, [_value(row.get(name)) for row in named]) for name in named[0]]
    values = [[float(value) for value in row] for row in rows if not isinstance(row, Mapping)]
    shape = [len(values), len(values[0]) if values else 0]
    return [{"name": "input-0", "shape": shape, "datatype": "FP64", "data": [v for row in values for v in row]}]


def _column(name: str, values: list[Any]) -> dict[str, Any]:
    datatype = "FP64"
    if all(isinstance(value, int) for value in values):
        datatype = "INT64"
    elif any(isinstance(value, str) for value in values):
        datatype = "BYTES"
    return {"name": name, "shape": [len(values)], "datatype": datatype, "data": values}


def _plain(row: Row) -> Any:
    if isinstance(row, Mapping):
        return {name: _value(value) for name, value in row.items()}
    return [_value(value) for value in row]


def _value(value: Any) -> Any:
    """A value that JSON knows: numpy's scalars become Python's."""
    return value.item() if hasattr(value, "item") else value


def _predictions(response: httpx.Response, protocol: Protocol) -> list[float]:
    said = _json(response)
    try:
        if protocol == "v1":
            return [float(value) for value in said["predictions"]]
        output = next(tensor for tensor in said["outputs"] if tensor["name"] == "predict")
        return [float(value) for value in output["data"]]
    except (KeyError, TypeError, ValueError, StopIteration) as error:
        shown = response.text[:_REASON_SHOWN]
        raise RequestFailed(
            f"{response.request.url}: not an answer of protocol {protocol}: {shown}", status=response.status_code
        ) from error


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None
