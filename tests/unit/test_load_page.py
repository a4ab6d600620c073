"""The page of a run's loads: what it says first, what it draws on one axis, and that it stays small."""

from __future__ import annotations

import json
import math
import re
from itertools import pairwise
from pathlib import Path

import pytest

from harness.report import _load_page, _load_time
from harness.report._view import keys
from harness.report.load import page, write_load
from harness.report.record import RunRecord
from harness.report.render import page as run_page
from tests.unit import sample_load, sample_record
from tests.unit.read_page import Page


@pytest.fixture
def run() -> RunRecord:
    return sample_load.run()


def test_the_verdict_against_the_slo_comes_first_then_the_rest_in_the_order_of_a_review(run: RunRecord) -> None:
    text = Page(page(run)).text
    places = [
        text.index(words)
        for words in (
            "keeps the SLO",
            "took longer than 100",
            "Offered",
            "Achieved",
            "Requests per second",
            "Latency from the intended send",
            "Failed requests per second, by class",
            "Replicas, and what the autoscaler decided",
            "Share of requests, by revision",
            "Generator: 99th percentile of how late it sent",
            "Processor: cores in use",
            "Latency by percentile",
            "Ledger: where each of the",
            "rehearse load --shape step",
            "Rates that were tried",
            "Environment",
        )
    ]
    assert places == sorted(places)


def test_all_charts_of_a_load_have_one_axis_with_the_decisions_on_it(run: RunRecord) -> None:
    """The autoscaler's, and the rollout's steps."""
    story = _load_time.story(run, run.loads[0], keys(run))
    assert story is not None
    drawn = _load_time.charts(story, "x")
    axes = {re.search(r'<div class="x" aria-hidden="true">(.*?)</div>', svg).group(1) for svg in drawn}  # type: ignore[union-attr]

    assert len(drawn) == 10
    assert len(axes) == 1
    assert "1 → 4" in drawn[3]
    assert "4 → 1" in drawn[3]
    assert all("load ends" in svg for svg in drawn)
    assert f"10{chr(0x202F)}%" in drawn[0]


def test_the_page_is_well_formed_and_loads_nothing(run: RunRecord) -> None:
    run.loads.append(sample_load.load(30, "second"))
    text = page(run)
    found = Page(text)
    ids = found.all("id")
    levels = [int(tag[1]) for tag, _ in found.tags if re.fullmatch("h[1-6]", tag)]

    assert found.open == []
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in found.all("href") if link.startswith("#")} <= set(ids)
    assert {name for names in found.all("aria-labelledby") for name in names.split()} <= set(ids)
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert not {"script", "iframe", "object", "base", "form"} & {tag for tag, _ in found.tags}
    assert not re.search(r"url\(|@import|https?://(?!127)", text)


def test_an_hour_of_ten_loads_fits_into_two_megabytes(run: RunRecord, tmp_path: Path) -> None:
    """And one hour, of 1,000,000 requests or any other number, into a fifth of that."""
    run.loads = [sample_load.load(3600)]
    assert len(page(run).encode()) < 400_000
    run.loads = [sample_load.load(3600, f"load-{number}") for number in range(10)]
    assert len(page(run).encode()) < 2_000_000


def test_thinning_keeps_every_peak_and_the_mean_of_rates() -> None:
    values = [1.0] * 1000
    values[777] = 50.0
    assert max(value for _, value in _load_time._thinned(values, 1, 60, max)) == 50.0
    assert len(_load_time._thinned(values, 1, 60, max)) <= 60
    mean = _load_time._thinned([10.0, 20.0], 2, 1, lambda group: sum(group) / len(group))
    assert mean == [(0.0, 15.0)]


@pytest.mark.parametrize(
    ("change", "badge"),
    [
        ({}, "keeps the SLO"),
        ({"unexplained": 3}, "unexplained"),
        ({"distrust": "the generator was late"}, "withheld"),
        ({"latency_verdict": sample_load.guard("slow", 0.05, 1000, 300, "roll back")}, "breaks the SLO"),
        ({"errors_verdict": sample_load.guard("errors", 0.02, 1000, 300, "roll back")}, "breaks the SLO"),
        ({"errors_verdict": sample_load.guard("errors", 0.02, 9, 0, "not enough evidence")}, "not enough evidence"),
        ({"latency_verdict": None, "errors_verdict": None}, "no SLO"),
    ],
)
def test_a_load_has_one_verdict(run: RunRecord, change: dict[str, object], badge: str) -> None:
    load = run.loads[0].model_copy(update=change)
    assert _load_page.verdict(load).badge == badge


def test_of_several_loads_the_worst_is_said_first(run: RunRecord) -> None:
    bad = sample_load.load(30, "second").model_copy(update={"unexplained": 2})
    run.loads.append(bad)
    assert _load_page.worst(run).words == "second: 2 requests are unexplained."


def test_the_json_beside_it_has_the_loads_with_their_verdicts_and_the_runs_page_leads_there(
    run: RunRecord, tmp_path: Path
) -> None:
    assert write_load(run, tmp_path) == tmp_path / "load.html"
    data = json.loads((tmp_path / "load.json").read_text())
    assert data["loads"][0]["verdict"] == "keeps the SLO"
    assert data["loads"][0]["timeline"]["offered"][:2] == [60, 60]
    assert data["capacity"][0]["capacity_rps"] == 240
    assert data["command"] == run.command
    assert 'href="load.html#load-1"' in run_page(run)


def test_a_run_without_a_load_has_no_such_page_and_one_from_before_the_timeline_has(tmp_path: Path) -> None:
    assert write_load(sample_record.interrupted(), tmp_path) is None
    assert list(tmp_path.iterdir()) == []
    old = sample_record.passed()
    text = Page(page(old)).text
    assert "no SLO" in text
    assert "99th percentile, by revision" in text


def test_a_rate_at_which_nothing_was_answered_is_on_the_page_all_the_same(run: RunRecord) -> None:
    """Latencies of nothing are null in run.json, which the page is made from."""
    run.capacity[0].steps[0].p50_ms = run.capacity[0].steps[0].p99_ms = math.nan
    assert "Every rate that was tried" in page(run)


def test_names_that_a_user_chose_are_text_on_the_page(run: RunRecord) -> None:
    run.loads[0].name = "<img src=x onerror=alert(1)>"
    run.loads[0].reproduce = "rehearse load --password=hunter2-secret"
    text = page(run)
    assert "<img src=x" not in text
    assert "hunter2-secret" not in text
