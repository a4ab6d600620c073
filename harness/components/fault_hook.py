"""Faults that a model server commits when a rehearsal asks for it: errors, delays, silence; told by a file.

The file is looked at for each request, so that a fault begins and ends with it; a server without the file is as it is.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.components.payload_logger import INFERENCE
from harness.errors import UsageError

_LOOK_S = 0.05
_DISTRIBUTIONS = {
    "constant": ("ms",),
    "exponential": ("mean_ms",),
    "lognormal": ("median_ms", "sigma"),
}

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass(frozen=True)
class ServerFault:
    """What a model server does wrong: a share of errors with `status`, an added delay, or no answer at all.

    `delay_ms` is {"distribution": "constant", "ms"}, {"distribution": "exponential", "mean_ms"} or {"distribution":
    "lognormal", "median_ms", "sigma"}. What happens to a request depends on its x-request-id and `seed` alone.
    """

    errors: float = 0.0
    status: int = 500
    delay_ms: Mapping[str, Any] | None = None
    hang: bool = False
    seed: int = 0

    def delay_s(self, draw: random.Random) -> float:
        """The delay of one request in seconds."""
        told = self.delay_ms or {"distribution": "constant", "ms": 0}
        if told["distribution"] == "constant":
            return float(told["ms"]) / 1000
        if told["distribution"] == "exponential":
            return draw.expovariate(1000 / told["mean_ms"])
        return draw.lognormvariate(math.log(told["median_ms"] / 1000), told["sigma"])


def parse_fault(told: Mapping[str, Any]) -> ServerFault:
    """The fault in a mapping; UsageError for what it cannot be, with what it can."""
    if unknown := sorted(told.keys() - ServerFault.__dataclass_fields__.keys()):
        known = ", ".join(ServerFault.__dataclass_fields__)
        raise UsageError(f"server fault: there is no {unknown[0]!r}; there are: {known}")
    fault = ServerFault(**told)
    if not (_is_number(fault.errors) and 0 <= fault.errors <= 1):
        raise UsageError(f"server fault: errors: expected a share from 0 to 1, got {fault.errors!r}")
    if not (isinstance(fault.status, int) and 400 <= fault.status <= 599):
        raise UsageError(f"server fault: status: expected 400 to 599, got {fault.status!r}")
    if fault.delay_ms is not None:
        _check_delay(fault.delay_ms)
    return fault


def _check_delay(delay: Mapping[str, Any]) -> None:
    if not isinstance(delay, Mapping):
        raise UsageError(f"server fault: delay_ms: expected a mapping with its distribution, got {delay!r}")
    kind = delay.get("distribution")
    if kind not in _DISTRIBUTIONS:
        known = ", ".join(_DISTRIBUTIONS)
        raise UsageError(f"server fault: delay_ms.distribution: expected one of {known}, got {kind!r}")
    wanted = _DISTRIBUTIONS[kind]
    if set(delay) != {"distribution", *wanted} or not all(
        _is_number(delay[name]) and delay[name] > 0 for name in wanted
    ):
        raise UsageError(
            f"server fault: delay_ms: {kind} takes {' and '.join(wanted)}, each above 0, got {dict(delay)!r}"
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


class FaultHook:
    """ASGI middleware that commits the fault of a file."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], path: str) -> None:
        self.app = app
        self._path = Path(path)
        self._seen: tuple[int, int] | None = None
        self._fault: ServerFault | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = self._now() if scope["type"] == "http" else None
        while fault is not None and fault.hang:
            await asyncio.sleep(_LOOK_S)
            fault = self._now()
        if fault is None or not scope["path"].endswith(INFERENCE):
            await self.app(scope, receive, send)
            return
        draw = random.Random(f"{fault.seed} {_request_id(scope)!r}")
        fails = draw.random() < fault.errors
        await asyncio.sleep(fault.delay_s(draw))
        await (_fail(fault.status, receive, send) if fails else self.app(scope, receive, send))

    def _now(self) -> ServerFault | None:
        """The fault that is asked for now; read again only when the file is another one."""
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._seen = None
            return None
        if self._seen != (found.st_mtime_ns, found.st_ino):
            self._seen = found.st_mtime_ns, found.st_ino
            self._fault = _read(self._path)
        return self._fault


def _read(path: Path) -> ServerFault | None:
    try:
        return parse_fault(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, UsageError) as error:
        print(f"{path}: not a fault: {error}", file=sys.stderr, flush=True)
        return None


async def _fail(status: int, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        """A body that nobody reads would cost the connection."""
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"error": "a rehearsed fault"}'})


def _request_id(scope: Scope) -> bytes:
    headers: dict[bytes, bytes] = dict(scope["headers"])
    return headers.get(b"x-request-id", b"")
