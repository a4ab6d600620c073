"""Counts of one load from three sides: what they must add up to."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from harness._traffic import mismatches
from harness.load.access_log import requests_to
from harness.monitoring import counted_requests, disagreement, logged_requests


@pytest.mark.parametrize(
    ("sent", "counted", "logged", "wrong"),
    [
        (100, 100, 100, ""),
        (100, 130, 140, ""),  # smoke and drift requests are no load's; a refusal is no revision's
        (100, 99, 140, "1 are missing"),
        (100, 141, 140, "1 were counted that the gateway did not log"),
    ],
)
def test_prometheus_counts_no_less_than_was_sent_and_no_more_than_was_logged(
    sent: int, counted: int, logged: int, wrong: str
) -> None:
    assert disagreement(sent, counted, logged) == wrong


class Counting:
    """A world whose Prometheus knows two Envoy clusters of one revision, the first of which is gone."""

    def __init__(self, log: Path) -> None:
        self.access_log = log
        self.asked = list[str]()

    def query(self, promql: str) -> dict[str, float]:
        self.asked.append(promql)
        return {'{envoy_cluster_name="a"}': 60.0, '{envoy_cluster_name="b"}': 40.0}

    def own_requests(self, host: str) -> int:
        return 3


def test_a_revision_s_count_is_that_of_all_its_clusters(tmp_path: Path) -> None:
    """A change of routes gives a revision another one in a cluster; the sum of one moment has only what is there."""
    world = Counting(tmp_path / "access.jsonl")
    backend: Any = world
    assert counted_requests(backend, "production", "m", at_least=100) == 100
    labels = 'namespace="production",service="m",revision!=""'
    assert world.asked == [f"max_over_time(envoy_cluster_upstream_rq_completed{{{labels}}}[2h])"]


def test_what_a_router_asked_itself_is_among_what_was_logged(tmp_path: Path) -> None:
    """Envoy counts its probes, and the run's log has none of them."""
    log = tmp_path / "access.jsonl"
    log.write_text(json.dumps({"id": "1", "host": "m.example"}) + "\n")
    backend: Any = Counting(log)
    assert logged_requests(backend, "m.example", at_least=4) == 4


def test_the_log_is_counted_by_host_to_its_last_whole_line(tmp_path: Path) -> None:
    """Copies are counted too; another service, a host that only contains the name, and half a line are left out."""
    hosts = ["m.production.example", "m.staging.example", "m.production.example.org", "m.production.example-shadow"]
    lines = "".join(json.dumps({"id": "1", "host": host}) + "\n" for host in hosts)
    log = tmp_path / "access.jsonl"
    log.write_text(lines + '{"host": "m.production.example"')
    assert requests_to(log, "m.production.example") == 2
    assert requests_to(tmp_path / "absent.jsonl", "m.production.example") == 0


def test_an_answer_that_is_not_a_number_is_a_mismatch() -> None:
    """NaN compares false with every tolerance."""
    assert mismatches([0.0, 1e-12, math.nan, 0.5], 1e-9) == 2
