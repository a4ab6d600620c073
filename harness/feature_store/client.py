"""Online features over Feast's HTTP server: what is too old counts as missing, never as known."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import httpx

from harness.clients import http

PRESENT = "PRESENT"


@dataclass(frozen=True)
class Features:
    """One entity's features by name, None where there is none; `stale` are those that were too old."""

    values: Mapping[str, float | None]
    stale: tuple[str, ...] = ()

    @property
    def unknown(self) -> bool:
        """Nothing at all is known of it, not even what is too old."""
        return not self.stale and all(value is None for value in self.values.values())


class OnlineFeatures:
    """Asks one feature server; closes with `with`. `ttl_s`: view -> how old its features may be, in seconds; 0: ever.

    Errors: RequestFailed if the server refuses, or does not answer within `timeout_s`.
    """

    def __init__(
        self,
        url: str,
        ttl_s: Mapping[str, float],
        *,
        timeout_s: float = 2.0,
        now: Callable[[], float] = time.time,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        extra: dict[str, Any] = {"transport": transport} if transport else {}
        self._http = http.client(url, timeout_s=timeout_s, **extra)
        self._ttl_s, self._now = ttl_s, now

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def get(self, view: str, names: Sequence[str], key: str, entities: Sequence[int]) -> list[Features]:
        """The features of a view for each entity, in order."""
        asked = {"features": [f"{view}:{name}" for name in names], "entities": {key: list(entities)}}
        answer = http.request(self._http, "POST", "/get-online-features", json=asked).json()
        return features_of(answer, names, self._ttl_s.get(view, 0.0), self._now(), len(entities))


def features_of(
    answer: Mapping[str, Any], names: Sequence[str], ttl_s: float, now: float, count: int
) -> list[Features]:
    """What Feast's answer says of each of `count` entities; a value older than `ttl_s` (0: none is) is left out."""
    told = dict(zip(answer["metadata"]["feature_names"], answer["results"], strict=True))
    rows: list[Features] = []
    for at in range(count):
        values: dict[str, float | None] = {}
        stale: list[str] = []
        for name in names:
            column = told[name]
            present = column["statuses"][at] == PRESENT and column["values"][at] is not None
            old = present and bool(ttl_s) and now - _unix(column["event_timestamps"][at]) > ttl_s
            values[name] = float(column["values"][at]) if present and not old else None
            stale += [name] if old else []
        rows.append(Features(values, tuple(stale)))
    return rows


def _unix(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
