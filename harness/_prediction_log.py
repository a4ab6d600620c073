"""The prediction log of a service, as scenarios use it: labels go in, joined rows and their quality come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.backends.backend import LogPlace
from harness.clients.http import client, request
from harness.report.record import PredictionsRecord, QualityWindow

if TYPE_CHECKING:
    from harness.platform import Platform
    from harness.service import Service

READ = "harness.prediction_log.job:main"
LABELS_AT_ONCE = 1_000
WHOLE_S = 1e11
"""A window that no span of time leaves."""


class PredictionLog:
    """The log of one service; `place` says where its collector and its files are."""

    def __init__(self, platform: Platform, service: Service, place: LogPlace) -> None:
        self._platform = platform
        self._service = service
        self._http = client(place.url)
        self.place = place

    def label(self, truth: Mapping[str, float | Sequence[float | None]]) -> dict[str, int]:
        """Give the ground truth of requests by their id (x-request-id); of several rows a list.

        Returns how many of the ids were "joined" to a logged request, and how many are "unknown": those labels are kept
        in case the event still comes. Errors: RequestFailed if the collector refuses them.
        """
        told = {"joined": 0, "unknown": 0}
        entries = [{"id": key, "label": value} for key, value in truth.items()]
        for start in range(0, len(entries), LABELS_AT_ONCE):
            body = {**self._names(), "labels": entries[start : start + LABELS_AT_ONCE]}
            answer = request(self._http, "POST", "labels", json=body).json()
            told = {name: count + answer[name] for name, count in told.items()}
        return told

    def flush(self) -> None:
        """Have everything that was acknowledged so far as Parquet; reading does not need it."""
        request(self._http, "POST", "flush")

    def read(
        self, *, since: float | None = None, until: float | None = None, window_s: float | None = None
    ) -> PredictionsRecord:
        """Join what was logged in a span of time (Unix seconds), and note it in the run's record.

        `window_s` is the length of the windows that quality is told for, an hour by default.
        """
        found = self._read(since=since, until=until, window_s=window_s)
        others = [each for each in self._platform.run.record.predictions if each.service != found.service]
        self._platform.run.record.predictions = [*others, found]
        return found

    def export(
        self, path: Path, *, target: str, since: float | None = None, until: float | None = None, labelled: bool = True
    ) -> PredictionsRecord:
        """Write the features and the label, in a column called `target`, as Parquet to train on.

        The record's quality is that of all of them, in one window.
        """
        export = {"path": str(path), "target": target, "labelled": labelled}
        return self._read(since=since, until=until, export=export, window_s=WHOLE_S)

    def quality(
        self, *, since: float | None = None, until: float | None = None, revision: str | None = None
    ) -> QualityWindow | None:
        """How good the predictions of a span of time, or of one revision in it, turned out to be; None without any."""
        found = self._read(since=since, until=until, revision=revision, window_s=WHOLE_S)
        return found.windows[-1] if found.windows else None

    def close(self) -> None:
        self._http.close()

    def _read(self, **spec: Any) -> PredictionsRecord:
        features = self._service.model.features if self._service.model else None
        whole = {**self._names(), "folder": str(self.place.folder), "features": features, **spec}
        return PredictionsRecord.model_validate(self._platform.job(READ, whole, name="predictions"))

    def _names(self) -> dict[str, str]:
        return {"namespace": self._service.namespace, "service": self._service.name}


def logged(platform: Platform, service: Service) -> PredictionLog:
    """Have a service's payloads sent to the run's collector, unless they are already."""
    log = PredictionLog(platform, service, platform.backend.prediction_log())
    service.apply(service.document.with_logger(log.place.logger_url, "all"))
    return log
