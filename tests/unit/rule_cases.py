"""Cases of the recording and alert rules as promtool takes them: series that go in, and what comes out, by hand."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.components.alert_rules import TIME_SCALE, VALUE, Alert, alerts

OF_REVISION = {"namespace": "production", "service": "model", "revision": "v1"}
OF_SERVICE = {"namespace": "production", "service": "model"}
COMPLETED, CLASSES = "envoy_cluster_upstream_rq_completed", "envoy_cluster_upstream_rq_xx"
BUCKETS = "envoy_cluster_upstream_rq_time_bucket"
LOG_TIME = "rehearsal_prediction_log_last_event_timestamp_seconds"
RESTARTS = "rehearsal_replica_restarts_total"
FAST, MIDDLE, SLOW = "30s", "3m", "36m"
"""The long windows of the three burn rates, at a rehearsal's scale."""


@dataclass(frozen=True)
class Fires:
    """One alert that holds: its labels beside those of its rule, and its value, plain and as its text has it."""

    labels: Mapping[str, str]
    value: str
    words: str = ""
    window: str = ""


@dataclass(frozen=True)
class Case:
    """Series with a value a second (promtool's notation), and what holds of one alert after so many seconds."""

    alert: str
    why: str
    series: Mapping[str, str]
    at_s: int
    fires: Sequence[Fires] = ()


@dataclass(frozen=True)
class Recorded:
    """What a recording rule has after so many seconds: labels -> value."""

    record: str
    series: Mapping[str, str]
    at_s: int
    samples: Mapping[str, float] = field(default_factory=dict)


def series(name: str, labels: Mapping[str, str], **more: str) -> str:
    """A series as PromQL writes it."""
    return name + "{" + ",".join(f'{label}="{value}"' for label, value in {**labels, **more}.items()) + "}"


def traffic(rate: float, failed: float, seconds: int) -> dict[str, str]:
    """A revision's counters: so many requests a second, so many of them failed."""
    return {
        series(COMPLETED, OF_REVISION): f"0+{rate:g}x{seconds}",
        series(CLASSES, OF_REVISION, envoy_response_code_class="5"): f"0+{failed:g}x{seconds}",
    }


def latencies(rate: float, slow: float, seconds: int) -> dict[str, str]:
    """A revision's histogram: so many requests a second, so many of them between 100 and 250 ms, the others quicker."""
    quick = f"0+{rate - slow:g}x{seconds}"
    return {
        series(COMPLETED, OF_REVISION): f"0+{rate:g}x{seconds}",
        series(BUCKETS, OF_REVISION, le="50"): quick,
        series(BUCKETS, OF_REVISION, le="100"): quick,
        series(BUCKETS, OF_REVISION, le="250"): f"0+{rate:g}x{seconds}",
        series(BUCKETS, OF_REVISION, le="+Inf"): f"0+{rate:g}x{seconds}",
    }


def burns(value: str, words: str, *windows: str) -> list[Fires]:
    return [Fires(OF_REVISION, value, words, window) for window in windows]


ERRORS, LATENCY = "RehearsalErrorBudgetBurn", "RehearsalLatencyBudgetBurn"
CASES = (
    Case(ERRORS, "half fail", traffic(10, 5, 60), 60, burns("0.5", "50%", FAST, MIDDLE, SLOW)),
    Case(ERRORS, "a fifth fails: not fast enough for the first window", traffic(10, 2, 60), 60,
         burns("0.2", "20%", MIDDLE, SLOW)),
    Case(ERRORS, "four percent fail: a ticket", traffic(50, 2, 60), 60, burns("0.04", "4%", SLOW)),
    Case(ERRORS, "one percent fails: within the promise", traffic(100, 1, 60), 60),
    Case(ERRORS, "all of very few fail", traffic(0.1, 0.1, 60), 60),
    Case(ERRORS, "it is over: only the longest window has not seen it", {
        series(COMPLETED, OF_REVISION): "0+10x120",
        series(CLASSES, OF_REVISION, envoy_response_code_class="5"): "0+5x40 200+0x80",
    }, 100, burns("0.2", "20%", SLOW)),
    Case(LATENCY, "nine in ten are slow", latencies(10, 9, 60), 60, burns("0.9", "90%", FAST, MIDDLE, SLOW)),
    Case(LATENCY, "half are slow", latencies(10, 5, 60), 60, burns("0.5", "50%", MIDDLE, SLOW)),
    Case(LATENCY, "a tenth is slow: a ticket", latencies(10, 1, 60), 60, burns("0.1", "10%", SLOW)),
    Case(LATENCY, "one in fifty is slow: within the promise", latencies(50, 1, 60), 60),
    Case("RehearsalDrift", "one kind of drift", {
        series("rehearsal_drift_detected", OF_SERVICE, kind="data"): "1x10",
        series("rehearsal_drift_detected", OF_SERVICE, kind="prediction"): "0x10",
    }, 5, [Fires(OF_SERVICE, "1")]),
    Case("RehearsalDrift", "no drift of what goes in or comes out", {
        series("rehearsal_drift_detected", OF_SERVICE, kind="data"): "0x10",
        series("rehearsal_drift_detected", OF_SERVICE, kind="quality"): "1x10",
    }, 5),
    Case("RehearsalQualityDrop", "worse predictions",
         {series("rehearsal_drift_detected", OF_SERVICE, kind="quality"): "1x10"}, 5, [Fires(OF_SERVICE, "1")]),
    Case("RehearsalQualityDrop", "drift of the input alone", {
        series("rehearsal_drift_detected", OF_SERVICE, kind="data"): "1x10",
        series("rehearsal_drift_detected", OF_SERVICE, kind="quality"): "0x10",
    }, 5),
    Case("RehearsalStaleData", "requests go on, events do not",
         {**traffic(10, 0, 60), series(LOG_TIME, OF_SERVICE): "10x60"}, 60, [Fires(OF_SERVICE, "50", "50s")]),
    Case("RehearsalStaleData", "an event came just now",
         {**traffic(10, 0, 60), series(LOG_TIME, OF_SERVICE): "0+1x60"}, 60),
    Case("RehearsalStaleData", "nobody asks anything",
         {**traffic(0, 0, 60), series(LOG_TIME, OF_SERVICE): "10x60"}, 60),
    Case("RehearsalStaleData", "nothing was ever logged of it", traffic(10, 0, 60), 60),
    Case("RehearsalRegistryDown", "it does not answer", {
        series("rehearsal_registry_up", {"job": "exporters", "instance": "a:1", "exporter": "rehearsal"}): "1x5 0x10",
    }, 12, [Fires({"exporter": "rehearsal"}, "0")]),
    Case("RehearsalRegistryDown", "it was away for a moment", {
        series("rehearsal_registry_up", {"job": "exporters", "instance": "a:1"}): "1 1 1 0 1 1 1 1",
    }, 6),
    Case("RehearsalReplicaCrashLoop", "a restart every five seconds",
         {series(RESTARTS, OF_REVISION): "0x4 1x4 2x4 3x4 4x4 5x4"}, 29, [Fires(OF_REVISION, "4", "4")]),
    Case("RehearsalReplicaCrashLoop", "one restart", {series(RESTARTS, OF_REVISION): "0x10 1x20"}, 30),
)  # fmt: skip

HALF_FAIL = {**traffic(10, 5, 20), **latencies(10, 2, 20)}
"""As doubles have it: a fifth is not exact."""
PLAIN = '{namespace="production", revision="v1", service="model"}'
RECORDED = (
    Recorded("rehearsal:requests:total", HALF_FAIL, 10, {PLAIN: 100}),
    Recorded("rehearsal:failed:total", HALF_FAIL, 10, {PLAIN: 50}),
    Recorded("rehearsal:failed:total", {series(COMPLETED, OF_REVISION): "0+1x20"}, 10, {PLAIN: 0}),
    Recorded("rehearsal:requests:rate5s", HALF_FAIL, 10, {PLAIN: 10}),
    Recorded("rehearsal:failed:rate5s", HALF_FAIL, 10, {PLAIN: 5}),
    Recorded("rehearsal:failed:rate5s", {series(COMPLETED, OF_REVISION): "0+1x20"}, 10, {PLAIN: 0}),
    Recorded("rehearsal:slow_share:rate5s", HALF_FAIL, 10, {
        PLAIN.replace("revision", f'le="{bound}", revision'): share
        for bound, share in {"50": 0.19999999999999996, "100": 0.19999999999999996, "250": 0.0, "+Inf": 0.0}.items()
    }),
    Recorded("rehearsal:latency_ms:p50", HALF_FAIL, 10, {PLAIN: 31.25}),
    Recorded("rehearsal:latency_ms:p90", HALF_FAIL, 10, {PLAIN: 175}),
    Recorded("rehearsal:latency_ms:p99", HALF_FAIL, 10, {PLAIN: 242.50000000000003}),
)  # fmt: skip


def promtool_tests(rules: str) -> dict[str, Any]:
    """The file that `promtool test rules` takes, for the rule file called `rules`."""
    return {
        "rule_files": [rules],
        "evaluation_interval": "1s",
        "tests": [*map(_alert_test, CASES), *map(_record_test, RECORDED)],
    }


def _alert_test(case: Case) -> dict[str, Any]:
    expected = [_expected(case.alert, fires) for fires in case.fires]
    test = {"alertname": case.alert, "eval_time": f"{case.at_s}s", "exp_alerts": expected}
    return {"name": f"{case.alert}: {case.why}", **_input(case.series), "alert_rule_test": [test]}


def _record_test(case: Recorded) -> dict[str, Any]:
    samples = [{"labels": case.record + labels, "value": value} for labels, value in case.samples.items()]
    test = {"expr": case.record, "eval_time": f"{case.at_s}s", "exp_samples": samples}
    return {"name": case.record, **_input(case.series), "promql_expr_test": [test]}


def _input(series: Mapping[str, str]) -> dict[str, Any]:
    return {"interval": "1s", "input_series": [{"series": name, "values": text} for name, text in series.items()]}


def _expected(name: str, fires: Fires) -> dict[str, Any]:
    (rule,) = (each for each in alerts(scale=TIME_SCALE) if (each.name, each.labels.get("window", "")) ==
               (name, fires.window))  # fmt: skip
    labels = {**fires.labels, **rule.labels, "severity": rule.severity}
    return {"exp_labels": labels, "exp_annotations": _annotations(rule, labels, fires)}


def _annotations(rule: Alert, labels: Mapping[str, str], fires: Fires) -> dict[str, str]:
    """The rule's own texts, with the labels and the value in them."""

    def filled(text: str) -> str:
        text = re.sub(r"{{ \$labels\.(\w+) }}", lambda found: labels[found[1]], text)
        text = re.sub(r"{{ \$value \| human\w+ }}", fires.words, text)
        return text.replace(VALUE, fires.value)

    return {name: filled(text) for name, text in rule.rule()["annotations"].items()}
