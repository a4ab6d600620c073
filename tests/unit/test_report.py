"""The page and run.json: what they say first, that they are whole, and that nothing leaves the file."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from harness.report import _drift_view, _view
from harness.report.record import RunRecord, Status, Trial
from harness.report.render import load_record, page, relative, render, write_record
from tests.unit import sample_record
from tests.unit.read_page import Page

RECORDS = [sample_record.passed, sample_record.rolled_back, sample_record.with_skips, sample_record.interrupted]


@pytest.fixture(params=RECORDS, ids=lambda make: make.__name__)
def record(request: pytest.FixtureRequest) -> RunRecord:
    make: Callable[[], RunRecord] = request.param
    return make()


def test_the_page_is_one_small_file_that_loads_nothing(record: RunRecord, tmp_path: Path) -> None:
    path = render(record, tmp_path)
    found = Page(path.read_text(encoding="utf-8"))

    assert path == tmp_path / "index.html"
    assert list(tmp_path.iterdir()) == [path]
    assert path.stat().st_size < 200_000
    assert not {"script", "iframe", "object", "base", "form"} & {tag for tag, _ in found.tags}
    assert all(source.startswith("data:") for source in found.all("src"))
    assert not re.search(r"url\(|@import", path.read_text(encoding="utf-8"))
    assert all(not re.match(r"[a-z]+:|//", link) or link == "data:," for link in found.all("href"))


def test_the_page_is_well_formed_and_can_be_walked(record: RunRecord) -> None:
    """Elements nest, ids are unique, links on the page have a target, headings leave no level out."""
    found = Page(page(record))
    ids = found.all("id")
    levels = [int(tag[1]) for tag, _ in found.tags if re.fullmatch("h[1-6]", tag)]

    assert found.open == []
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in found.all("href") if link.startswith("#")} <= set(ids)
    assert {name for names in found.all("aria-labelledby") for name in names.split()} <= set(ids)
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert {"header", "main", "nav", "footer"} <= {tag for tag, _ in found.tags}


def test_every_table_has_a_caption_and_every_header_cell_a_scope(record: RunRecord) -> None:
    tags = Page(page(record)).tags

    assert [tag for tag, _ in tags].count("table") == [tag for tag, _ in tags].count("caption") > 0
    assert all(attributes.get("scope") for tag, attributes in tags if tag == "th")


def test_a_passed_run_says_so_first_and_what_decided_it() -> None:
    text = Page(page(sample_record.passed())).text

    assert text.index("passed") < text.index("The canary kept its SLO") < text.index("Timeline")
    assert "What to do next" not in text


def test_a_failed_run_gives_cause_evidence_and_next_command_before_anything_else() -> None:
    text = Page(page(sample_record.rolled_back())).text

    places = [
        text.index(words)
        for words in (
            "The canary high-utiliser-v2 was rolled back at 10 %",
            "Evidence",
            "At 10 %, errors: 23 of 198 requests bad",
            "What to do next",
            "rehearse test scenarios/test_canary.py",
            "Timeline",
        )
    ]
    assert places == sorted(places)


def test_without_a_stated_cause_the_first_finding_is_the_cause() -> None:
    record = sample_record.passed()
    record.status, record.decided_by = Status.FAILED, ""
    record.gates = [sample_record.gate(False)]

    text = Page(page(record)).text

    assert text.index("Gate, calibration error: observed 0.012, required ≤ 0.05.") < text.index("Timeline")


def test_a_drift_verdict_against_expectation_is_a_finding() -> None:
    record = sample_record.passed()
    record.status, record.decided_by = Status.FAILED, "x"
    record.drift[0].drifted = True

    assert "Drift, control: drift although no drift was expected." in Page(page(record)).text


def test_a_skip_is_said_at_the_top_with_the_way_to_get_it_below() -> None:
    text = Page(page(sample_record.with_skips())).text

    assert text.index("1 step was skipped") < text.index("Timeline")
    assert "apt-get install prometheus" in text


def test_a_section_without_data_is_left_out() -> None:
    found = Page(page(sample_record.interrupted()))

    assert not {"pipeline", "gate", "rollout", "load", "drift", "metrics", "skips"} & set(found.all("id"))
    assert {"timeline", "components", "about"} <= set(found.all("id"))


def test_a_run_with_nothing_in_it_has_a_page() -> None:
    bare = RunRecord(run_id="r", title="t", backend="embedded", command="rehearse run", started_at=0.0)

    assert "The run ended as running." in Page(page(bare)).text


def test_the_ledger_adds_up_on_the_page_and_a_hole_in_it_shows() -> None:
    whole = sample_record.passed()
    holed = sample_record.passed()
    holed.loads[0].unexplained = 3

    assert "adds up to sent, none unexplained" in Page(page(whole)).text
    assert "adds up to sent, none unexplained" not in Page(page(holed)).text


def test_the_split_shows_its_exact_interval_and_the_verdict_of_the_rollout() -> None:
    """The page does not judge again: 198 of 1,988 fits 10 % or does not as the record says, if it does."""
    wrong, silent, odd = sample_record.passed(), sample_record.passed(), sample_record.passed()
    wrong.rollouts[0].split["steps"][0]["passed"] = False
    silent.rollouts[0].split = {}
    odd.rollouts[0].steps[0].counts[1].requests = 260

    assert "7.88 % to 12.3 %" in Page(page(sample_record.passed())).text.replace("\u202f", " ")
    for record in (sample_record.passed(), silent, odd):
        assert "does not fit" not in Page(page(record)).text
    assert "does not fit" in Page(page(wrong)).text
    assert Page(page(silent)).text.count("not judged") == 2


def test_alerts_say_when_they_began_and_whether_they_still_held_at_the_end() -> None:
    text = Page(page(sample_record.passed())).text
    assert "RehearsalErrorBudgetBurn critical, namespace production, revision v2" in text
    assert "+20.00 s 400 ms 11 s" in text
    assert "RehearsalRegistryDown" in text
    assert text.count("to the end") == 1


def test_panels_stand_under_their_dashboard_and_what_is_not_drawn_is_named() -> None:
    found = Page(page(sample_record.passed()))
    metrics = found.text[found.text.index("The panels of the dashboards") :]

    places = [metrics.index(words) for words in ("Model performance", "Requests requests/s", "slow above", "Drift")]
    assert places == sorted(places)
    assert "Nothing to draw in this run: Rows of the last window." in metrics
    assert "Evidence by feature: 3 lines" in metrics
    assert "rehearsal_drift_window_rows{}" in metrics


def test_a_limit_far_from_all_values_flattens_no_chart() -> None:
    record = sample_record.passed()
    latency = next(each for each in record.series if each.limit is not None)
    latency.points = {"v1": [(sample_record.START + at, 2.0) for at in range(5)]}

    assert "slow above" not in Page(page(record)).text


def test_a_run_without_prometheus_says_so_where_its_panels_would_be() -> None:
    text = Page(page(sample_record.with_skips())).text

    assert "This run had no Prometheus to ask, so that no panel can be drawn: what was skipped, and why" in text


def test_a_closed_loop_shows_each_part_of_a_round_and_the_quality_meanwhile() -> None:
    text = Page(page(sample_record.passed())).text
    assert "Begun by RehearsalDrift and RehearsalQualityDrop; 3 more alerts came meanwhile and began nothing" in text
    assert "an alert was told of the shift 7 s +7.00 s" in text
    assert "retrained a new version was registered: version 3 5 s +13.00 s" in text
    assert "the old version, on the shifted rows auc 0.410 0.390 to 0.430" in text
    assert "Held since then: 2 alerts were left to people." in text
    assert "Closed loop refused by the gate 2 rounds" in text


def test_gitops_shows_each_commit_with_what_was_said_of_it_and_what_was_healed() -> None:
    text = Page(page(sample_record.passed())).text
    assert "A deeper tree 3f9c1d2e , by data-scientist" in text
    assert "deploy/production ✕ failure +30.00 s rolled back: slow" in text
    assert "Nine is better 77aa0b1c , by ml-engineer: refused, not in the repository" in text
    assert "heal staging/high-utiliser spec.predictor.minReplicas: 3, desired 1" in text


def test_access_shows_every_cell_that_was_tried_and_what_differs_from_the_matrix() -> None:
    text = Page(page(sample_record.passed())).text
    assert "3 cells of the matrix were tried with each role’s own credentials; 1 is not as the matrix says." in text
    assert "alias champion move ✕ let in (200) ✓ let in (200) ✓ refused (403)" in text
    assert "ml-engineer, move, alias champion: expected refused, got 200: it was let through" in text


def test_features_show_parity_the_leak_and_what_is_online() -> None:
    text = Page(page(sample_record.passed())).text
    assert "✕ skew Of 200 rows 1 was served otherwise than they were trained on." in text
    assert "One on a naive join, which knows the future, shows 0.816, and 0.738 when it is asked in time." in text
    assert "listener_stats 30 days 598" in text
    assert "track_features ever 0 nothing is online" in text


def test_a_gate_line_that_was_not_judged_is_neither_passed_nor_failed() -> None:
    record = sample_record.passed()
    record.gates[0].lines[1].passed = None
    record.status, record.decided_by = Status.FAILED, ""

    text = Page(page(record)).text

    assert text.count("5 of 5 passed, 1 not judged") == 2
    assert "– not judged" in text
    assert "Gate, ROC AUC against champion" not in text


def test_text_from_a_record_cannot_become_markup() -> None:
    record = sample_record.rolled_back()
    attack = "<script>alert(1)</script>"
    record.title = record.decided_by = record.hint = record.steps[0].detail = record.command = attack
    record.loads[0].classes = {attack: record.loads[0].sent}
    record.loads[0].latency[0].revision = attack
    record.models[0].plots = {attack: f"<svg xmlns='http://www.w3.org/2000/svg'>{attack}</svg>"}

    found = Page(page(record))

    assert "script" not in {tag for tag, _ in found.tags}
    assert attack in found.text


@pytest.mark.parametrize("path", ["javascript:alert(1)", "/etc/passwd", "../x", "a/../../x", "https://x", "", "a\\b"])
def test_the_page_links_only_into_the_run_folder(path: str) -> None:
    assert relative(path) == ""
    assert relative("logs/a.log") == "logs/a.log"


def test_a_record_comes_back_as_it_was_written(record: RunRecord, tmp_path: Path) -> None:
    path = write_record(record, tmp_path)

    assert load_record(tmp_path) == load_record(path) == record
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


def test_no_secret_reaches_run_json_or_the_page(tmp_path: Path) -> None:
    record = sample_record.rolled_back()
    record.command = "rehearse run --registry-token hunter2hunter2"
    record.environment["MLFLOW_TRACKING_PASSWORD"] = "hunter2"
    record.steps[0].error = "cannot reach http://bob:hunter2@proxy:3128"

    written = write_record(record, tmp_path).read_text(encoding="utf-8")

    assert "hunter2" not in written
    assert "hunter2" not in render(record, tmp_path).read_text(encoding="utf-8")
    assert record.environment["MLFLOW_TRACKING_PASSWORD"] == "hunter2"


def test_what_is_not_a_number_is_null_in_run_json_and_a_dash_on_the_page(tmp_path: Path) -> None:
    """A metric of a slice, a served answer, a point of a series, a parameter; every JSON reader takes the file."""
    record = sample_record.passed()
    record.models[0].metrics = {"auc": 0.7, "auc_slice": math.nan}
    record.models[0].params["limit"] = math.inf
    record.smoke[0].largest_difference = math.nan
    record.pipelines[1].trials[0].value = math.nan
    record.drift[0].columns[0].score = math.nan
    record.series[0].points = {"v1": [(sample_record.START, 1.0), (sample_record.START + 1, math.nan)]}

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    path = write_record(record, tmp_path)
    written = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)

    assert written["models"][0]["metrics"] == {"auc": 0.7, "auc_slice": None}
    assert written["models"][0]["params"]["limit"] is None
    assert math.isnan(load_record(tmp_path).models[0].metrics["auc_slice"])
    assert page(load_record(tmp_path)) == page(record)
    assert "nan" not in Page(page(record)).text.lower().split()


@pytest.mark.parametrize(("best", "drawn"), [(0, [5.0, 5.0, 5.0, 5.0]), (2, [5.0, 3.0, 2.0, 2.0])])
def test_the_best_trial_is_the_one_that_was_taken(
    best: int, drawn: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The highest AUC or the lowest RMSE: the table marks it, and the line of the best so far ends at it."""
    record = sample_record.passed()
    run = record.pipelines[1]
    values = [5.0, 3.0, 2.0, 4.0]
    run.trials = [Trial(number=n, params={}, value=v, run_id="", best=n == best) for n, v in enumerate(values)]
    with monkeypatch.context() as patched:
        patched.setattr(_view, "chart", lambda lines, **_: lines)
        lines: Any = _view.trials_chart(run, "trials")

    assert [value for _, value in lines[1].points] == drawn
    assert re.findall(r"best: \d", Page(page(record)).text) == [f"best: {best}"]


def test_a_folder_without_a_record_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"run\.json does not exist"):
        load_record(tmp_path)


def test_a_damaged_record_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"schema_version": 1, "run')

    with pytest.raises(UsageError, match="cannot be read as JSON"):
        load_record(tmp_path)


def test_another_schema_version_is_refused_by_number(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"schema_version": 7}')

    with pytest.raises(UsageError, match="has schema version 7; this program reads version 1"):
        load_record(tmp_path)


def test_a_wrong_field_is_named_by_its_path(tmp_path: Path) -> None:
    path = write_record(sample_record.passed(), tmp_path)
    data = json.loads(path.read_text())
    data["steps"][2]["status"] = "fine"
    path.write_text(json.dumps(data))

    with pytest.raises(UsageError, match=r"steps\.2\.status"):
        load_record(tmp_path)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_record(sample_record.passed(), tmp_path)
    before = path.read_text()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_record(sample_record.rolled_back(), tmp_path)

    assert path.read_text() == before
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


def test_of_a_services_own_windows_the_first_that_drifted_and_the_last_are_shown_in_full() -> None:
    """A day has 24 of them and more; the overview lists the newest 50, the chart has all."""
    record = sample_record.passed()
    served = [window for window in record.drift if window.service]

    shown = [window for window in _drift_view.detailed(record) if window.service]

    assert shown == [served[2], served[3]]
    record.drift = served * 20
    assert len(_drift_view.listed(record)) == 50
