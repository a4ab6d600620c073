"""The in-cluster collector from this machine: where loggers send their events to, and the totals of one rollout."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from typing import Any

from harness.clients.kubernetes import Kube
from harness.components.collector import PORT, Comparison
from harness.errors import RequestFailed
from harness.lifecycle.answers import Answers

SERVICE = "collector"
_REVISION = "REVISION"


class ClusterAnswers:
    """One rollout's totals; an AnswerSource."""

    def __init__(
        self, kube: Kube, namespace: str, *, baseline: str, canary: str, tolerance: float, cuts: Sequence[float] = ()
    ) -> None:
        self._kube = kube
        self._namespace = namespace
        self._comparison = Comparison(secrets.token_hex(8), baseline, canary, tolerance, tuple(cuts))
        self._last: Answers | None = None
        self.url = f"http://{SERVICE}.{namespace}:{PORT}{self._comparison.path(_REVISION)}"

    def answers(self) -> Answers:
        """The totals so far."""
        if self._last is not None:
            return self._last
        body = self._kube.service_get(SERVICE, self._namespace, PORT, f"answers/{self._comparison.rollout}")
        return parse(body)

    def close(self) -> None:
        """The totals stay as they are; the collector forgets them. Safe to call twice."""
        if self._last is not None:
            return
        try:
            self._last = self.answers()
            self._kube.service_get(SERVICE, self._namespace, PORT, f"forget/{self._comparison.rollout}")
        except RequestFailed:  # it is away, and what it knew with it
            self._last = self._last or Answers()


def logger_url(url: str, revision: str) -> str:
    """Where one revision's events go: KServe's agent does not tell the revision, so the collector's URL does."""
    return url.replace(f"/{_REVISION}?", f"/{revision}?") if f":{PORT}/events/" in url else url


def parse(body: str) -> Answers:
    """The totals in the collector's words; none before any event."""
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in json.loads(body).items()
    }
    return Answers(**fields)
