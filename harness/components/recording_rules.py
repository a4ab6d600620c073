"""Recording rules: the series that dashboards, alerts and the report read, by one name in every world."""

from __future__ import annotations

from typing import Any

SCRAPE_S = 1
"""How often Prometheus scrapes and evaluates, in seconds."""
BY = "namespace, service, revision"
_KNOWN = 'revision!=""'
_FAILED = f'{_KNOWN},envoy_response_code_class=~"[45]"'
_COMPLETED = "envoy_cluster_upstream_rq_completed"
_CLASSES = "envoy_cluster_upstream_rq_xx"
_BUCKETS = "envoy_cluster_upstream_rq_time_bucket"
QUANTILES = (0.5, 0.9, 0.99)


def duration(seconds: float) -> str:
    """A duration as PromQL writes it, in whole seconds: 90 -> "90s", 7200 -> "2h"."""
    whole = round(seconds)
    size, unit = next((each for each in ((86400, "d"), (3600, "h"), (60, "m")) if whole % each[0] == 0), (1, "s"))
    return f"{whole // size}{unit}"


def requests_over(window: str) -> str:
    """Answered requests a second of each revision."""
    return f"sum by ({BY}) (rate({_COMPLETED}{{{_KNOWN}}}[{window}]))"


def failed_over(window: str) -> str:
    """Failed requests (4xx, 5xx) a second of each revision; 0 where none failed."""
    return f"sum by ({BY}) (rate({_CLASSES}{{{_FAILED}}}[{window}])) or 0 * {requests_over(window)}"


def slow_over(window: str, slower_than_ms: float) -> str:
    """Requests a second of each revision that took longer than one of the gateway's bounds."""

    def under(bound: str) -> str:
        return f'sum by ({BY}) (rate({_BUCKETS}{{{_KNOWN},le="{bound}"}}[{window}]))'

    return f"{under('+Inf')} - {under(f'{slower_than_ms:g}')}"


def recording_rules() -> dict[str, str]:
    """Name -> PromQL. Rates over 5 s; latencies in milliseconds; shares in [0, 1]."""
    buckets = f"sum by ({BY}, le) (rate({_BUCKETS}{{{_KNOWN}}}[5s]))"
    records = {
        "rehearsal:requests:total": f"sum by ({BY}) ({_COMPLETED}{{{_KNOWN}}})",
        "rehearsal:failed:total": f"sum by ({BY}) ({_CLASSES}{{{_FAILED}}}) or 0 * rehearsal:requests:total",
        "rehearsal:requests:rate5s": requests_over("5s"),
        "rehearsal:failed:rate5s": failed_over("5s"),
        "rehearsal:slow_share:rate5s": _slow_shares(buckets),
    }
    for quantile in QUANTILES:
        records[f"rehearsal:latency_ms:p{quantile * 100:g}"] = f"histogram_quantile({quantile}, {buckets})"
    return records


def recording_group() -> dict[str, Any]:
    """The rules as a group of Prometheus's rule file."""
    rules = [{"record": name, "expr": expression} for name, expression in recording_rules().items()]
    return {"name": "rehearsal", "interval": f"{SCRAPE_S}s", "rules": rules}


def _slow_shares(buckets: str) -> str:
    """The share slower than each bound of the histogram, by the label `le` (milliseconds)."""
    total = buckets.replace(f"{BY}, le)", f"{BY})").replace(f"{{{_KNOWN}}}", f'{{{_KNOWN},le="+Inf"}}')
    return f"1 - {buckets} / on ({BY}) group_left () ({total})"
