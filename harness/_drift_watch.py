"""Drift of a service's own traffic, as scenarios use it: windows of its prediction log, judged while it serves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.backends.backend import LogPlace, MonitorPlace
from harness.lifecycle.drift_windows import WindowPlan
from harness.report.record import DriftRecord
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait

if TYPE_CHECKING:
    from harness.model_version import ModelVersion
    from harness.platform import Platform
    from harness.service import Service

FETCH = "harness.lifecycle.reference:main"
JOB_S = 180.0


@dataclass(frozen=True)
class DriftSettings:
    """Windows, and how many false alarms a day they may raise between them; `rows` is a usual window's size."""

    plan: WindowPlan = field(default_factory=WindowPlan)
    false_alarms_per_day: float = 0.1
    rows: int | None = None
    pages: bool = True


class DriftWatch:
    """Windows of one service's log against the reference of the version that serves; `url` is the exporter's.

    `needed` are the rows that a window must have to be judged, `least_reference` those of a version's reference.
    """

    def __init__(self, platform: Platform, service: Service, log: LogPlace, settings: DriftSettings) -> None:
        self._platform = platform
        self._service = service
        self._log = log
        self._settings = settings
        self._place: MonitorPlace | None = None
        self.needed = self.least_reference = 0
        self.follow(service.require_model())

    @property
    def url(self) -> str:
        """Where Prometheus finds the drift series."""
        return f"{self._running.url}metrics"

    def follow(self, model: ModelVersion) -> None:
        """Judge by another version's reference from now on: the one that was promoted."""
        fetched = self._fetch(model)
        self.needed = int(fetched["rows"])
        self.least_reference = int(fetched["least_reference"])
        service = {
            "namespace": self._service.namespace,
            "service": self._service.name,
            "revision": self._service.revision,
            "features": model.features,
            **{key: fetched[key] for key in ("reference", "calibration")},
        }
        self._place = self._platform.backend.drift_monitor(self._config(service))

    def records(self) -> list[DriftRecord]:
        """The verdicts so far, the oldest first."""
        folder = self._running.folder / self._service.namespace / self._service.name
        found = [DriftRecord.model_validate_json(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
        return sorted(found, key=lambda record: record.end or 0.0)

    def unjudged(self) -> list[dict[str, Any]]:
        """Windows without a verdict, the oldest first: {"end", "rows", "why"}."""
        folder = self._running.folder / self._service.namespace / self._service.name
        found = [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.unjudged")]
        return sorted(found, key=lambda each: float(each["end"]))

    def wait_drifted(self, *, after: float = 0.0, deadline: Deadline | None = None) -> DriftRecord:
        """The first window that ended after a moment (Unix seconds) and drifted, as soon as it was judged."""
        found: list[DriftRecord] = []

        def seen() -> bool:
            found[:] = [each for each in self.records() if each.drifted and (each.end or 0.0) > after]
            return bool(found)

        wait(seen, what=f"drift of {self._service.name}", deadline=deadline or Deadline.after(60.0), state=self._state)
        return found[0]

    def note(self) -> None:
        """Put the verdicts into the run's record, once each."""
        known = {(each.service, each.end) for each in self._platform.run.record.drift}
        for record in self.records():
            if (record.service, record.end) not in known:
                record.html = self._page(record.html)
                self._platform.run.record.drift.append(record)

    @property
    def _running(self) -> MonitorPlace:
        assert self._place is not None
        return self._place

    def _state(self) -> str:
        last = self.unjudged()[-1:]
        return f"{len(self.records())} windows judged" + (f"; {last[0]['why']}" if last else "")

    def _page(self, html: str) -> str:
        page = self._running.folder / html
        run = self._platform.run.folder
        return page.relative_to(run).as_posix() if html and page.is_file() and page.is_relative_to(run) else ""

    def _config(self, service: Mapping[str, Any]) -> dict[str, Any]:
        settings = self._settings
        return {
            "log": str(self._log.folder), "plan": asdict(settings.plan), "pages": settings.pages, "services": [service]
        }  # fmt: skip

    def _fetch(self, model: ModelVersion) -> dict[str, Any]:
        rate = {
            "false_alarms_per_day": self._settings.false_alarms_per_day,
            "looks_per_day": self._settings.plan.looks_per_day,
        }
        spec = {
            "tracking_uri": self._platform.backend.tracking_uri,
            "model": model.name,
            "version": model.version,
            "features": model.features,
            "folder": str(self._folder(model)),
            "rate": rate,
            "rows": self._settings.rows,
        }
        return self._platform.job(FETCH, spec, name=f"drift-reference-v{model.version}", deadline=Deadline.after(JOB_S))

    def _folder(self, model: ModelVersion) -> Path:
        return self._platform.run.folder / "drift" / f"{model.name}-v{model.version}"
