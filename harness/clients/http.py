"""The one HTTP client factory: timeouts are always set, proxies of the environment are never used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from harness.errors import RequestFailed

_BODY_SHOWN = 500


def client(
    base_url: str = "", *, timeout_s: float = 10.0, headers: Mapping[str, str] | None = None, **kw: Any
) -> httpx.Client:
    """A client whose every call ends within `timeout_s` per phase (connect, write, read); closes with `with`.

    It raises httpx's own errors, which `wait` takes as "not yet"; `request` and `expect` turn them into RequestFailed.
    """
    # trust_env: a proxy variable of the machine must not catch calls to 127.0.0.1, nor .netrc add credentials to them.
    kw.setdefault("trust_env", False)
    return httpx.Client(base_url=base_url, timeout=timeout_s, headers=dict(headers or {}), **kw)


def request(http: httpx.Client, method: str, url: str, *, hint: str = "", **kw: Any) -> httpx.Response:
    """The answer of one call; raises RequestFailed when it is an error, or when there is none."""
    try:
        response = http.request(method, url, **kw)
    except httpx.TransportError as error:
        where = f"{method} {http.base_url.join(url)}"
        raise RequestFailed(f"{where}: {type(error).__name__}: {error}", hint=hint) from error
    return expect(response, hint=hint)


def expect(response: httpx.Response, *, hint: str = "") -> httpx.Response:
    """The response itself if its status is below 400; else RequestFailed with the status and the body's beginning."""
    if response.status_code < 400:
        return response
    sent = response.request
    body = response.text.strip()[:_BODY_SHOWN]
    raise RequestFailed(
        f"{sent.method} {sent.url} answered {response.status_code}: {body}", status=response.status_code, hint=hint
    )
