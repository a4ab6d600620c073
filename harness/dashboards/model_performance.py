"""How well one service serves and predicts."""

from __future__ import annotations

from harness.components.recording_rules import BY
from harness.dashboards.panel import PLACE, REVISION, WINDOW, Dashboard, Limit, Panel, Unit
from harness.lifecycle.slo import SLO

_SLO = SLO()
_IN_THE_MODEL = f"sum by ({BY}, le) (rate(request_predict_seconds_bucket{{{REVISION}}}[{WINDOW}]))"

MODEL_PERFORMANCE = Dashboard(
    "rehearsal-model-performance",
    "Model performance",
    "How well one service serves, by revision, and how good its predictions turned out to be.",
    (
        Panel(
            "Requests", Unit.REQUESTS_A_SECOND, f"rehearsal:requests:rate5s{{{REVISION}}}", "{{revision}}",
            "Answered by the gateway, over five seconds.",
        ),
        Panel(
            "Failed requests", Unit.REQUESTS_A_SECOND, f"rehearsal:failed:rate5s{{{REVISION}}}", "{{revision}}",
            "Answered with 4xx or 5xx, over five seconds.",
        ),
        Panel(
            "Latency, median", Unit.MILLISECONDS, f"rehearsal:latency_ms:p50{{{REVISION}}}", "{{revision}}",
            "From the gateway to the revision and back, over five seconds.",
        ),
        Panel(
            "Latency, 99th percentile", Unit.MILLISECONDS, f"rehearsal:latency_ms:p99{{{REVISION}}}", "{{revision}}",
            "One request of a hundred takes longer.", Limit(_SLO.slower_than_ms, "slow above"),
        ),
        Panel(
            "Slow requests", Unit.SHARE,
            f'rehearsal:slow_share:rate5s{{{REVISION},le="{_SLO.slower_than_ms:g}"}}', "{{revision}}",
            f"Slower than {_SLO.slower_than_ms:g} ms.", Limit(_SLO.slow, "the SLO"),
        ),
        Panel(
            "Time in the model, 99th percentile", Unit.MILLISECONDS,
            f"1000 * histogram_quantile(0.99, {_IN_THE_MODEL})", "{{revision}}",
            "As KServe's model server measures its predict; the rest of the latency is the way to it and back.",
        ),
        Panel(
            "Quality of the predictions", Unit.COUNT, f"rehearsal_prediction_quality{{{PLACE}}}", "{{metric}}",
            "Of the newest labelled predictions; there once labels came.",
        ),
        Panel(
            "Labels so far", Unit.COUNT,
            f"sum by (namespace, service, outcome) (rehearsal_prediction_log_labels_total{{{PLACE}}})", "{{outcome}}",
            "Joined with a prediction, or of an id that the log does not know.",
        ),
    ),
)  # fmt: skip
