"""Counts of one load from three sides: what they must add up to."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from harness._traffic import mismatches
from harness.load.access_log import requests_to
from harness.monitoring import disagreement


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
