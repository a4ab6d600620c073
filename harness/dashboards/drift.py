"""Whether a service is asked what its model was trained on, and whether that can be told."""

from __future__ import annotations

from harness.components.alert_rules import HOUR_S, TIME_SCALE
from harness.dashboards.panel import PLACE, WINDOW, Dashboard, Limit, Panel, Unit

_LEAST = "1e-12"  # a p-value of 0 has no place on a logarithmic axis
_STALE_S = HOUR_S * TIME_SCALE
_EVIDENCE = f"clamp_min(rehearsal_drift_score{{{PLACE}}}, {_LEAST}) / rehearsal_drift_threshold{{{PLACE}}}"
_DRIFT = Limit(1, "drift below", "below")
_POWERS = (-8, 8)
_LOG = "rehearsal_prediction_log"

DRIFT = Dashboard(
    "rehearsal-drift",
    "Drift",
    "Windows of one service's prediction log against the training reference of the version that serves.",
    (
        Panel(
            "Strongest evidence", Unit.TIMES, f"min by (namespace, service, kind) ({_EVIDENCE})", "{{kind}}",
            "The smallest p-value by its calibrated threshold, of the last judged window: at 1 and below it is drift.",
            _DRIFT, _POWERS,
        ),
        Panel(
            "Evidence by feature", Unit.TIMES, _EVIDENCE, "{{feature}} ({{kind}})",
            "Each p-value by its calibrated threshold: at 1 and below it is drift.", _DRIFT, _POWERS,
        ),
        Panel(
            "Windows that drifted", Unit.COUNT, f"rehearsal_drift_detected{{{PLACE}}}", "{{kind}}",
            "1 while the last judged window is drift.", Limit(0.5, "drift above"),
        ),
        Panel("Rows of the last window", Unit.ROWS, f"rehearsal_drift_window_rows{{{PLACE}}}", "rows"),
        Panel(
            "Windows so far", Unit.COUNT, f"rehearsal_drift_windows_total{{{PLACE}}}", "{{outcome}}",
            "Unjudged is a window with too few rows, or of other columns.",
        ),
        Panel(
            "Age of the last judged window", Unit.SECONDS,
            f"time() - rehearsal_drift_window_end_timestamp_seconds{{{PLACE}}}", "age",
        ),
        Panel(
            "Events that were logged", Unit.EVENTS_A_SECOND,
            f"sum by (namespace, service, outcome) (rate({_LOG}_events_total{{{PLACE}}}[{WINDOW}]))", "{{outcome}}",
            "Requests and responses; two a call.",
        ),
        Panel(
            "Age of the newest event", Unit.SECONDS, f"time() - {_LOG}_last_event_timestamp_seconds{{{PLACE}}}", "age",
            "Old while requests are answered: drift and quality are judged on old data.",
            Limit(_STALE_S, "stale above"),
        ),
    ),
)  # fmt: skip
