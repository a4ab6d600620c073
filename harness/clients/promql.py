"""Prometheus' query API, typed."""

from __future__ import annotations

from typing import Any, Self

import httpx

from harness.clients.http import client, request
from harness.errors import RequestFailed

Series = dict[str, list[tuple[float, float]]]


class PromQL:
    """Queries one Prometheus; a series' key is its label set as Prometheus writes it, without the metric's name."""

    def __init__(self, url: str, *, timeout_s: float = 10.0, transport: httpx.BaseTransport | None = None) -> None:
        extra: dict[str, Any] = {"transport": transport} if transport else {}
        self._http = client(url, timeout_s=timeout_s, **extra)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def answers(self) -> bool:
        """Whether it takes queries; raises httpx.TransportError while nothing is at its port."""
        return self._http.get("/-/ready").is_success

    def query(self, promql: str, *, at: float | None = None) -> dict[str, float]:
        """An instant query, at a Unix time or now: label set -> value; a scalar has the label set ""."""
        result = self._ask("/api/v1/query", {"query": promql, **({"time": at} if at is not None else {})})
        if result["resultType"] == "scalar":
            return {"": float(result["result"][1])}
        return {labels(series["metric"]): float(series["value"][1]) for series in result["result"]}

    def query_range(self, promql: str, start_s: float, end_s: float, step_s: float) -> Series:
        """A range query over Unix times: label set -> [(Unix seconds, value)]."""
        parameters = {"query": promql, "start": start_s, "end": end_s, "step": step_s}
        result = self._ask("/api/v1/query_range", parameters)
        return {
            labels(series["metric"]): [(float(at), float(value)) for at, value in series["values"]]
            for series in result["result"]
        }

    def _ask(self, path: str, parameters: dict[str, Any]) -> dict[str, Any]:
        hint = f"the query was: {parameters['query']}"
        answer = request(self._http, "POST", path, data=parameters, hint=hint).json()
        if answer.get("status") != "success":
            raise RequestFailed(f"Prometheus refused a query: {answer.get('error', 'no reason given')}", hint=hint)
        data: dict[str, Any] = answer["data"]
        return data


def labels(metric: dict[str, str]) -> str:
    """A label set as Prometheus writes it: {a="b", c="d"}, sorted; "" if there are none but the name."""
    pairs = [f'{name}="{value}"' for name, value in sorted(metric.items()) if name != "__name__"]
    return "{" + ", ".join(pairs) + "}" if pairs else ""
