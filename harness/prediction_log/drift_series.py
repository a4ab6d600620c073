"""What the drift exporter tells Prometheus of the last window that was judged, of each service."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge

from harness.report.record import DriftRecord, MetricRecord

KINDS = ("data", "prediction", "quality")
_PLACE = ["namespace", "service"]


class DriftSeries:
    """Gauges in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"rehearsal_{name}", text, [*_PLACE, *labels], registry=registry)

        self._score = gauge("drift_score", "p-value of a test: small is drift", "kind", "feature")
        self._threshold = gauge("drift_threshold", "p-value at or below which a test alarms", "kind", "feature")
        self._detected = gauge("drift_detected", "Whether the last judged window drifted", "kind")
        self._rows = gauge("drift_window_rows", "Rows of the last window")
        self._end = gauge("drift_window_end_timestamp_seconds", "Newest event of the last judged window")
        self._quality = gauge("prediction_quality", "Of the newest labelled predictions", "metric")
        self._windows = Counter("rehearsal_drift_windows", "Windows by what became of them", [*_PLACE, "outcome"],
                                registry=registry)  # fmt: skip

    def judged(self, namespace: str, service: str, record: DriftRecord, newest_event: float) -> None:
        """A window with a verdict."""
        place = (namespace, service)
        for column in record.columns:
            self._score.labels(*place, column.kind, column.column).set(column.score)
            self._threshold.labels(*place, column.kind, column.column).set(column.threshold)
        for kind in KINDS:
            drifted = any(column.drifted for column in record.columns if column.kind == kind)
            self._detected.labels(*place, kind).set(drifted)
        self._rows.labels(*place).set(record.rows)
        self._end.labels(*place).set(newest_event)
        self._windows.labels(*place, "judged").inc()

    def unjudged(self, namespace: str, service: str, rows: int) -> None:
        """A window with too few rows, or of other columns: the last verdict stays."""
        self._rows.labels(namespace, service).set(rows)
        self._windows.labels(namespace, service, "unjudged").inc()

    def quality(self, namespace: str, service: str, figures: Iterable[MetricRecord]) -> None:
        for figure in figures:
            self._quality.labels(namespace, service, figure.name).set(figure.value)
