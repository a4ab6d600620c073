"""Alert rules, the same text in every world: error budgets that burn, drift, stale data, a registry that is down, a
replica that crashes again and again.

The windows are those of the SRE workbook's multi-window, multi-burn-rate alerts, times a scale: production's hour is
half a minute of a rehearsal (TIME_SCALE). `rehearse rules --time-scale 1` writes what a production Prometheus takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from harness.components.recording_rules import (
    BY,
    SCRAPE_S,
    duration,
    failed_over,
    recording_group,
    requests_over,
    slow_over,
)
from harness.errors import UsageError
from harness.lifecycle.slo import SLO

TIME_SCALE = 1 / 120
"""A rehearsal's seconds for one of production's: an hour becomes half a minute."""
VALUE = '{{ $value | printf "%.4g" }}'
RUNBOOK = "docs/monitoring.md#"
LEAST_S = 5.0
"""No window is shorter: a rate wants a few scrapes."""
LEAST_BAD = 10
"""Fewer bad requests within the long window burn nothing: one of the first twenty is no five percent."""
HOUR_S, DAY_S = 3600.0, 86400.0


@dataclass(frozen=True)
class Burn:
    """Alert where the budget burns `factor` times too fast over a long and a short window (production's seconds)."""

    long_s: float
    short_s: float
    factor: float
    severity: str

    def windows(self, scale: float) -> tuple[float, float]:
        """The long and the short window in whole seconds, at a scale."""
        short = round(max(LEAST_S, self.short_s * scale))
        return max(2 * short, round(self.long_s * scale)), short


BURNS = (
    Burn(HOUR_S, HOUR_S / 12, 14.4, "critical"),
    Burn(6 * HOUR_S, HOUR_S / 2, 6.0, "critical"),
    Burn(3 * DAY_S, 6 * HOUR_S, 1.0, "warning"),
)
"""2 % of a month's budget in an hour, 5 % in six, 10 % in three days."""


@dataclass(frozen=True)
class Alert:
    """One rule of Prometheus; `hold_s` is how long it must hold, in seconds of this Prometheus."""

    name: str
    expression: str
    severity: str
    summary: str
    description: str
    hold_s: float = 0.0
    labels: dict[str, str] = field(default_factory=dict)

    def rule(self) -> dict[str, Any]:
        """As Prometheus's rule file has it."""
        return {
            "alert": self.name,
            "expr": self.expression,
            **({"for": duration(self.hold_s)} if self.hold_s else {}),
            "labels": {"severity": self.severity, **self.labels},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "value": VALUE,
                "runbook": RUNBOOK + self.name.lower(),
            },
        }


def alerts(slo: SLO | None = None, *, scale: float = TIME_SCALE) -> list[Alert]:
    """Every alert for a promise, at a time scale in (0, 1]; UsageError for another scale."""
    promise = slo or SLO()
    if not 0 < scale <= 1:
        raise UsageError(f"rules: time scale: expected a number above 0 and up to 1, got {scale:g}")
    return [
        *_budget("RehearsalErrorBudgetBurn", promise.errors, scale),
        *_budget("RehearsalLatencyBudgetBurn", promise.slow, scale, promise.slower_than_ms),
        *_drift(),
        *_stale(scale),
        _registry_down(scale),
        _crash_loop(scale),
    ]


def rule_groups(slo: SLO | None = None, *, scale: float = TIME_SCALE) -> dict[str, Any]:
    """Prometheus's rule file: the recording rules and the alerts."""
    rules = [alert.rule() for alert in alerts(slo, scale=scale)]
    return {
        "groups": [recording_group(), {"name": "rehearsal-alerts", "interval": f"{SCRAPE_S}s", "rules": rules}],
    }


def _budget(name: str, budget: float, scale: float, slower_than_ms: float | None = None) -> Iterator[Alert]:
    """Of the requests that took longer than a bound; without one of those that failed."""
    words = "fail" if slower_than_ms is None else f"take longer than {slower_than_ms:g} ms"

    def bad(window: str) -> str:
        return failed_over(window) if slower_than_ms is None else slow_over(window, slower_than_ms)

    def share(window: str) -> str:
        return f"({bad(window)}) / ({requests_over(window)} > 0)"

    for burn in BURNS:
        limit = burn.factor * budget
        if limit >= 1:  # no share can be above it
            continue
        long_s, short_s = burn.windows(scale)
        long, short = duration(long_s), duration(short_s)
        enough = f"({bad(long)}) * {long_s:g} >= {LEAST_BAD}"
        yield Alert(
            name,
            f"{share(long)} > {limit:g} and {share(short)} > {limit:g} and {enough}",
            burn.severity,
            f"{{{{ $labels.service }}}} {{{{ $labels.revision }}}}: too many requests {words}",
            f"{{{{ $value | humanizePercentage }}}} of the requests to revision {{{{ $labels.revision }}}} over {long} "
            f"{words}; the promise allows {budget:.3%}: its budget burns {burn.factor:g} times too fast, and still "
            f"does over {short}.",
            labels={"window": long},
        )


def _drift() -> Iterator[Alert]:
    where = "{{ $labels.namespace }}/{{ $labels.service }}"
    of_input = 'max by (namespace, service) (rehearsal_drift_detected{kind=~"data|prediction"})'
    yield Alert(
        "RehearsalDrift",
        f"{of_input} == 1",
        "warning",
        f"{where}: what the model is asked, or what it answers, is not what it was trained on",
        "The last window of the prediction log differs from the training reference beyond the calibrated threshold "
        "of a feature or of the predictions. The window's page names the features.",
    )
    yield Alert(
        "RehearsalQualityDrop",
        'max by (namespace, service) (rehearsal_drift_detected{kind="quality"}) == 1',
        "critical",
        f"{where}: the predictions have become worse",
        "Labels that came in show a worse quality than the held-out rows had, beyond chance.",
    )


def _stale(scale: float) -> Iterator[Alert]:
    stale_s = max(LEAST_S, HOUR_S * scale)
    window = duration(stale_s)
    asked = f"sum by (namespace, service) ({requests_over(window)}) > 0"
    last = "max by (namespace, service) (rehearsal_prediction_log_last_event_timestamp_seconds)"
    yield Alert(
        "RehearsalStaleData",
        f"(time() - {last} > {round(stale_s)}) and on (namespace, service) ({asked})",
        "warning",
        "{{ $labels.namespace }}/{{ $labels.service }}: requests are answered, and none reaches the prediction log",
        f"The newest event of the prediction log is {{{{ $value | humanizeDuration }}}} old, allowed are {window}: "
        "drift and quality are judged on old data.",
    )


def _registry_down(scale: float) -> Alert:
    return Alert(
        "RehearsalRegistryDown",
        "max without (instance, job) (rehearsal_registry_up) == 0",
        "critical",
        "the model registry does not answer",
        "MLflow's health was asked for and not given: no model can be trained, promoted or started anew; what serves "
        "goes on serving.",
        hold_s=max(2.0, 300 * scale),
    )


def _crash_loop(scale: float) -> Alert:
    window = duration(max(4 * LEAST_S, HOUR_S / 6 * scale))
    return Alert(
        "RehearsalReplicaCrashLoop",
        f"sum by ({BY}) (increase(rehearsal_replica_restarts_total[{window}])) > 2",
        "critical",
        "{{ $labels.service }} {{ $labels.revision }}: its replicas crash again and again",
        f"{{{{ $value | humanize }}}} restarts of revision {{{{ $labels.revision }}}} in {window}. Its log has why.",
    )
