"""Prometheus: the gateway's counters as series that have the same names in every world (rehearsal:...).

The binary is Debian's package or one that was put on PATH or into the cache; no Python wheel carries it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from harness.components.component import LOOPBACK, Component, Limits, Ready, Restart, tag_of
from harness.errors import CapabilityMissing
from harness.programs import HOW_TO_GET_PROMETHEUS
from harness.runtime.paths import find_program
from harness.runtime.probe import program_version

IMAGE = "quay.io/prometheus/prometheus:v2.42.0"
SCRAPE_S = 1
RETENTION = "2h"
ENVOY_SERIES = "upstream_rq_(completed|time|xx|active|5xx|2xx|4xx)|upstream_rq_[0-9]+"
"""Envoy has hundreds of series for a cluster; these are what the recording rules read."""
_NAMES = ("namespace", "service", "revision")


def missing_prometheus() -> str:
    """Why there is no Prometheus here and how to get it; empty if there is one that runs."""
    binary = find_program("prometheus")
    if binary is None:
        return f"there is no prometheus here: {HOW_TO_GET_PROMETHEUS}"
    return "" if program_version(binary, "--version") else f"{binary} does not run: {HOW_TO_GET_PROMETHEUS}"


def prometheus(
    envoy_admin: int | str, *, replicas: Path | None = None, alertmanager: str = "", image: str = ""
) -> Component:
    """The recipe: port "http". Scrapes Envoy's admin port, and the replicas that the file `replicas` lists.

    `envoy_admin` is a port of this machine, or an address "host:port"; "" scrapes no Envoy. With an `alertmanager`
    ("host:port") it raises the alert of `rules_with_alerts` there.
    """
    target = f"{LOOPBACK}:{envoy_admin}" if isinstance(envoy_admin, int) else envoy_admin
    binary = () if image else (str(_binary()),)
    return Component(
        name="prometheus",
        version=tag_of(image) or program_version(_binary(), "--version") or "unknown",
        argv=(
            *binary, "--config.file={folder}/prometheus.yml", "--storage.tsdb.path={folder}/data",
            f"--storage.tsdb.retention.time={RETENTION}", "--web.listen-address={host}:{port[http]}",
            "--log.level=warn",
        ),
        image=image,
        inside={"http": 9090},
        limits=Limits(memory_mib=512),
        ready=Ready(port="http", path="/-/ready"),
        files={
            "prometheus.yml": yaml.safe_dump(_config(target, replicas, alertmanager), sort_keys=False),
            "rules.yml": yaml.safe_dump(rules_with_alerts() if alertmanager else rules(), sort_keys=False),
        },
        restart=Restart(at_most=3),
    )  # fmt: skip


def _binary() -> Path:
    binary = find_program("prometheus")
    if binary is None:
        raise CapabilityMissing("metrics: there is no prometheus here", hint=HOW_TO_GET_PROMETHEUS)
    return binary


def _config(envoy: str, replicas: Path | None, alertmanager: str) -> dict[str, Any]:
    jobs = [_envoy(envoy)] if envoy else []
    if replicas is not None:
        jobs.append({"job_name": "replicas", "file_sd_configs": [{"files": [str(replicas)]}]})
    return {
        "global": {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": f"{SCRAPE_S}s", "scrape_timeout": "1s"},
        "rule_files": ["{folder}/rules.yml"],
        **(alerting(alertmanager) if alertmanager else {}),
        "scrape_configs": jobs,
    }


def alerting(alertmanager: str) -> dict[str, Any]:
    """The part of Prometheus's configuration that says where its alerts go: to "host:port"."""
    return {"alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]}}


def _envoy(target: str) -> dict[str, Any]:
    return {
        "job_name": "envoy",
        "metrics_path": "/stats/prometheus",
        "params": {"filter": [ENVOY_SERIES]},
        "static_configs": [{"targets": [target]}],
        "metric_relabel_configs": [_label(name) for name in _NAMES],
    }


def _label(name: str) -> dict[str, Any]:
    """Envoy's cluster name <namespace>/<service>/<revision> as labels; a transformer's cluster gets none."""
    at = _NAMES.index(name) + 1
    part = "([a-z0-9-]+)"
    return {
        "source_labels": ["envoy_cluster_name"],
        "regex": f"{part}/{part}/{part}",
        "target_label": name,
        "replacement": f"${{{at}}}",
    }


def rules() -> dict[str, Any]:
    """Recording rules, one name in every world. Rates over 5 s; latencies in milliseconds; shares in [0, 1]."""
    by = "sum by (namespace, service, revision)"
    known = '{revision!=""}'
    failed = '{revision!="",envoy_response_code_class=~"[45]"}'
    answered = f"{by} (rate(envoy_cluster_upstream_rq_completed{known}[5s]))"
    buckets = f"sum by (namespace, service, revision, le) (rate(envoy_cluster_upstream_rq_time_bucket{known}[5s]))"
    records = {
        "rehearsal:requests:total": f"{by} (envoy_cluster_upstream_rq_completed{known})",
        "rehearsal:failed:total": f"{by} (envoy_cluster_upstream_rq_xx{failed}) or 0 * rehearsal:requests:total",
        "rehearsal:requests:rate5s": answered,
        "rehearsal:failed:rate5s": f"{by} (rate(envoy_cluster_upstream_rq_xx{failed}[5s])) or 0 * {answered}",
        "rehearsal:slow_share:rate5s": _slow_shares(buckets),
    }
    for quantile in (0.5, 0.9, 0.99):
        name = f"rehearsal:latency_ms:p{quantile * 100:g}"
        records[name] = f"histogram_quantile({quantile}, {buckets})"
    groups = [{"record": name, "expr": expression} for name, expression in records.items()]
    return {"groups": [{"name": "rehearsal", "interval": f"{SCRAPE_S}s", "rules": groups}]}


def rules_with_alerts() -> dict[str, Any]:
    """The recording rules, and one alert: a revision fails more than a tenth of its requests for five seconds."""
    alert = {
        "alert": "RehearsalRequestsFail",
        "expr": "rehearsal:failed:rate5s / rehearsal:requests:rate5s > 0.1",
        "for": "5s",
        "labels": {"severity": "warning"},
        "annotations": {"summary": "more than a tenth of the requests to a revision fail"},
    }
    return {"groups": [*rules()["groups"], {"name": "rehearsal-alerts", "interval": f"{SCRAPE_S}s", "rules": [alert]}]}


def _slow_shares(buckets: str) -> str:
    """The share slower than each bound of the histogram, by the label `le` (milliseconds)."""
    total = buckets.replace("revision, le)", "revision)").replace('{revision!=""}', '{revision!="",le="+Inf"}')
    return f"1 - {buckets} / on (namespace, service, revision) group_left () ({total})"
