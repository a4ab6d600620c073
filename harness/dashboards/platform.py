"""Whether the platform itself is well: what is scraped, the registry, replicas, the prediction log's disk."""

from __future__ import annotations

from harness.components.recording_rules import BY
from harness.dashboards.panel import PLACE, WINDOW, Dashboard, Limit, Panel, Unit

_LOG = "rehearsal_prediction_log"
_SYNCS = f"sum by (le) (rate({_LOG}_commit_seconds_bucket{{}}[{WINDOW}]))"

PLATFORM = Dashboard(
    "rehearsal-platform",
    "Platform",
    "Whether the platform itself is well.",
    (
        Panel(
            "Answers Prometheus", Unit.COUNT, "min by (job, exporter) (up{})", "{{job}} {{exporter}}",
            "1 while all of its targets do.", Limit(0.5, "down below", "below"),
        ),
        Panel(
            "Registry answers", Unit.COUNT, "max by (job) (rehearsal_registry_up{})", "MLflow",
            "1 while MLflow's /health answers.", Limit(0.5, "down below", "below"),
        ),
        Panel(
            "Traffic of all services", Unit.REQUESTS_A_SECOND,
            f"sum by (namespace, service) (rehearsal:requests:rate5s{{{PLACE}}})", "{{namespace}}/{{service}}",
        ),
        Panel(
            "Replicas that died", Unit.COUNT, f"sum by ({BY}) (rehearsal_replica_restarts_total{{{PLACE}}})",
            "{{namespace}}/{{service}} {{revision}}", "So far; each was started again.",
        ),
        Panel(
            "Alerts that fire", Unit.COUNT, 'count by (severity) (ALERTS{alertstate="firing"})', "{{severity}}",
        ),
        Panel(
            "Time to sync the prediction log, 99th percentile", Unit.MILLISECONDS,
            f"1000 * histogram_quantile(0.99, {_SYNCS})", "commit", "Nothing is acknowledged before it is on the disk.",
        ),
        Panel(
            "Commits that the disk refused", Unit.COUNT, f"sum by (job) ({_LOG}_refused_commits_total{{}})", "refused",
            "The sender was told, and sends again.",
        ),
        Panel(
            "Time to scrape", Unit.MILLISECONDS, "1000 * max by (job, exporter) (scrape_duration_seconds{})",
            "{{job}} {{exporter}}", "Above a second a scrape is lost.", Limit(1000, "lost above"),
        ),
    ),
    many=("namespace", "service"),
)  # fmt: skip
