"""The collector component from this machine: where loggers send their events to, and the totals of one rollout."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from harness.components.collector import PORT, Comparison
from harness.errors import RequestFailed
from harness.lifecycle.answers import Answers

NAME = "collector"
_REVISION = "REVISION"


class CollectedAnswers:
    """One rollout's totals; an AnswerSource.

    `host` is what replicas know the collector as; `get` asks it for a path from here and returns the body, errors:
    RequestFailed.
    """

    def __init__(
        self,
        host: str,
        get: Callable[[str], str],
        *,
        baseline: str,
        canary: str,
        tolerance: float,
        cuts: Sequence[float] = (),
    ) -> None:
        self._get = get
        self._comparison = Comparison(secrets.token_hex(8), baseline, canary, tolerance, tuple(cuts))
        self._last: Answers | None = None
        self.url = f"http://{host}:{PORT}{self._comparison.path(_REVISION)}"

    def answers(self) -> Answers:
        """The totals so far."""
        if self._last is not None:
            return self._last
        return parse(self._get(f"answers/{self._comparison.rollout}"))

    def close(self) -> None:
        """The totals stay as they are; the collector forgets them in time. Safe to call twice."""
        try:
            self._last = self.answers()
        except RequestFailed:  # it is away, and what it knew with it
            self._last = Answers()


def logger_url(url: str, revision: str) -> str:
    """Where one revision's events go: KServe's agent does not tell the revision, so the collector's URL does."""
    return url.replace(f"/{_REVISION}?", f"/{revision}?") if f":{PORT}/events/" in url else url


def parse(body: str) -> Answers:
    """The totals in the collector's words; none before any event."""
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(body).items()
    }
    return Answers(**fields)
