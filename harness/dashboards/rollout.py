"""What a rollout's revisions do, side by side."""

from __future__ import annotations

from harness.components.alert_rules import BURNS, TIME_SCALE
from harness.components.recording_rules import BY, duration
from harness.dashboards.panel import PLACE, REVISION, Dashboard, Limit, Panel, Unit
from harness.lifecycle.slo import SLO

_SLO = SLO()
_FASTEST = BURNS[0]
_WINDOW = duration(_FASTEST.windows(TIME_SCALE)[0])
_LIMIT = Limit(_FASTEST.factor, "alert above")
_RATE = f"rehearsal:requests:rate5s{{{REVISION}}}"
_SLOW = f'rehearsal:slow_share:rate5s{{{REVISION},le="{_SLO.slower_than_ms:g}"}}'
_WHAT_BURNS = f"How many times too fast the budget of the SLO burns, over {_WINDOW}; 1 uses it up just in time."


def _mean(series: str) -> str:
    return f"avg_over_time({series}[{_WINDOW}])"


ROLLOUT = Dashboard(
    "rehearsal-rollout",
    "Rollout",
    "The revisions of one service side by side: who gets the traffic, who fails, whose error budget burns.",
    (
        Panel(
            "Share of the traffic", Unit.SHARE,
            f"{_RATE} / on (namespace, service) group_left ()"
            f" (sum by (namespace, service) (rehearsal:requests:rate5s{{{PLACE}}}) > 0)",
            "{{revision}}", "What the weights come to, over five seconds.",
        ),
        Panel(
            "Requests answered", Unit.REQUESTS, f"rehearsal:requests:total{{{REVISION}}}", "{{revision}}",
            "Since the revision is there.",
        ),
        Panel(
            "Share that failed", Unit.SHARE, f"rehearsal:failed:rate5s{{{REVISION}}} / ({_RATE} > 0)", "{{revision}}",
            "4xx and 5xx, over five seconds.", Limit(_SLO.errors, "the SLO"),
        ),
        Panel(
            "Budget of failures", Unit.TIMES,
            f"{_mean(f'rehearsal:failed:rate5s{{{REVISION}}}')} / ({_mean(_RATE)} > 0) / {_SLO.errors:g}",
            "{{revision}}", _WHAT_BURNS, _LIMIT,
        ),
        Panel("Budget of slow requests", Unit.TIMES, f"{_mean(_SLOW)} / {_SLO.slow:g}", "{{revision}}", _WHAT_BURNS,
              _LIMIT),
        Panel(
            "Requests under way", Unit.REQUESTS,
            f"sum by ({BY}) (envoy_cluster_upstream_rq_active{{{REVISION}}})", "{{revision}}",
            "Sent to the revision and not answered yet.",
        ),
        Panel(
            "Alerts that fire", Unit.COUNT,
            f'count by ({BY}, alertname) (ALERTS{{{REVISION},alertstate="firing"}})', "{{alertname}} {{revision}}",
            "Of a revision: budgets that burn, replicas that crash.",
        ),
    ),
)  # fmt: skip
