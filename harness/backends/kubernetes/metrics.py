"""Prometheus in a cluster: what it scrapes, so that the recording rules of every world give the same series."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import yaml

from harness.components.alert_rules import rule_groups
from harness.components.prometheus import ENVOY_SERIES, alerting
from harness.components.recording_rules import SCRAPE_S
from harness.dashboards.provisioning import dashboard_files, data_source
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait

GATEWAY_METRICS = "rehearsal-gateway-metrics.envoy-gateway-system.svc.cluster.local"
PROMETHEUS = "http://prometheus.rehearsal-system.svc.cluster.local:9090"
ALERTMANAGER = "alertmanager.rehearsal-system.svc.cluster.local:9093"
COUNTER = "envoy_cluster_upstream_rq_completed"
SCRAPED_EVERY_S = 0.2
MOST_REVISIONS = 6
"""Of one route; the router names a route <service>--<revision>--… and Envoy numbers its backends likewise."""
_NAME = "[a-z0-9]+(?:-[a-z0-9]+)*"
_PART = f"({_NAME})"


def prometheus_values() -> dict[str, str]:
    """The texts of Prometheus's files, and of those for a Grafana that watches for ConfigMaps."""
    return {
        "prometheus.yml": yaml.safe_dump(_config(), sort_keys=False),
        "rules.yml": yaml.safe_dump(rule_groups(), sort_keys=False),
        "grafana data source": data_source(PROMETHEUS, default=False),
        **dashboard_files(),
    }


def wait_scraped(query: Callable[[str], Mapping[str, float]], counts: Mapping[str, int], deadline: Deadline) -> None:
    """Wait until Prometheus has so many completed requests of each of Envoy's clusters.

    A cluster that goes takes its counter with it; what was not scraped by then is missing in Prometheus for ever.
    Errors: WaitTimeout, and RequestFailed for a Prometheus that does not answer.
    """
    promql = f"sum by (envoy_cluster_name) ({COUNTER})"

    def scraped() -> bool:
        seen = query(promql)
        return all(seen.get(f'{{envoy_cluster_name="{name}"}}', 0) >= count for name, count in counts.items())

    wait(scraped, what="Prometheus's scrape", deadline=deadline, every_s=SCRAPED_EVERY_S)


def _config() -> dict[str, Any]:
    envoy: dict[str, Any] = {
        "job_name": "envoy",
        "metrics_path": "/stats/prometheus",
        "params": {"filter": [ENVOY_SERIES]},
        # The proxies' addresses change with every change of the gateway's settings.
        "dns_sd_configs": [{"names": [GATEWAY_METRICS], "type": "A", "port": 19001, "refresh_interval": "1s"}],
        "metric_relabel_configs": labels(),
    }
    return {
        "global": {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": f"{SCRAPE_S}s", "scrape_timeout": "1s"},
        "rule_files": ["/etc/prometheus/rules.yml"],
        **alerting(ALERTMANAGER),
        "scrape_configs": [envoy],
    }


def labels() -> list[dict[str, Any]]:
    """Envoy's cluster httproute/<namespace>/<service>--<revision>…--<n>--route/rule/0/backend/<n> as labels."""
    route = f"httproute/{_PART}/{_PART}--.*/rule/0(?:/backend/[0-9]+)?"
    found = [_label("namespace", route, 1), _label("service", route, 2)]
    for number in range(MOST_REVISIONS):
        others = f"--{_NAME}" * number
        backend = f"(?:/backend/{number})?" if number == 0 else f"/backend/{number}"
        revision = f"httproute/{_NAME}/{_NAME}{others}--{_PART}(?:--.*)?/rule/0{backend}"
        found.append(_label("revision", revision, 1))
    return found


def _label(name: str, pattern: str, group: int) -> dict[str, Any]:
    return {
        "source_labels": ["envoy_cluster_name"],
        "regex": pattern,
        "target_label": name,
        "replacement": f"${{{group}}}",
    }
