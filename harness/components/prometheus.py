"""Prometheus: the gateway's counters as series that have the same names in every world (rehearsal:...).

The binary is Debian's package or one that was put on PATH or into the cache; no Python wheel carries it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from harness.components.alert_rules import rule_groups
from harness.components.component import LOOPBACK, Component, Limits, Ready, Restart, tag_of
from harness.components.recording_rules import SCRAPE_S
from harness.programs import PROMETHEUS, required
from harness.runtime.probe import program_version

IMAGE = "quay.io/prometheus/prometheus:v2.42.0"
RETENTION = "2h"
ENVOY_SERIES = "upstream_rq_(completed|time|xx|active|5xx|2xx|4xx)|upstream_rq_[0-9]+"
"""Envoy has hundreds of series for a cluster; these are what the recording rules read."""
_NAMES = ("namespace", "service", "revision")


def prometheus(
    envoy_admin: int | str,
    *,
    replicas: Path | None = None,
    exporters: Path | None = None,
    alertmanager: str = "",
    image: str = "",
) -> Component:
    """The recipe: port "http". Scrapes Envoy's admin port, and what the files `replicas` and `exporters` list.

    `envoy_admin` is a port of this machine, or an address "host:port"; "" scrapes no Envoy. Its alerts go to an
    `alertmanager` ("host:port"), if there is one; it can be asked for them in any case.
    """
    target = f"{LOOPBACK}:{envoy_admin}" if isinstance(envoy_admin, int) else envoy_admin
    binary = None if image else required(PROMETHEUS, "metrics")
    started = () if binary is None else (str(binary),)
    return Component(
        name="prometheus",
        version=tag_of(image) if binary is None else program_version(binary, "--version") or "unknown",
        argv=(
            *started, "--config.file={folder}/prometheus.yml", "--storage.tsdb.path={folder}/data",
            f"--storage.tsdb.retention.time={RETENTION}", "--web.listen-address={host}:{port[http]}",
            "--log.level=warn",
        ),
        image=image,
        inside={"http": 9090},
        limits=Limits(memory_mib=512),
        ready=Ready(port="http", path="/-/ready"),
        files={
            "prometheus.yml": yaml.safe_dump(_config(target, replicas, exporters, alertmanager), sort_keys=False),
            "rules.yml": yaml.safe_dump(rule_groups(), sort_keys=False),
        },
        restart=Restart(at_most=3),
    )  # fmt: skip


def _config(envoy: str, replicas: Path | None, exporters: Path | None, alertmanager: str) -> dict[str, Any]:
    jobs = [_envoy(envoy)] if envoy else []
    for name, file in (("replicas", replicas), ("exporters", exporters)):
        if file is not None:
            # What an exporter says of a service has the service's own labels.
            jobs.append({"job_name": name, "honor_labels": name == "exporters", "file_sd_configs": [_listed(file)]})
    return {
        "global": {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": f"{SCRAPE_S}s", "scrape_timeout": "1s"},
        "rule_files": ["{folder}/rules.yml"],
        **(alerting(alertmanager) if alertmanager else {}),
        "scrape_configs": jobs,
    }


def _listed(file: Path) -> dict[str, Any]:
    """Read again when it changes, and soon where a change is not noticed."""
    return {"files": [str(file)], "refresh_interval": "1s"}


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
