"""Every recording and alert rule, by promtool: what it says of series that were made by hand."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from harness.components.alert_rules import BURNS, TIME_SCALE, alerts, rule_groups
from harness.components.recording_rules import recording_rules
from harness.errors import UsageError
from harness.lifecycle.slo import SLO
from harness.programs import PROMTOOL, find
from tests.unit.rule_cases import CASES, RECORDED, promtool_tests


@pytest.fixture
def promtool() -> Path:
    found = find(PROMTOOL)
    if found is None:
        pytest.skip(f"there is no promtool here: {PROMTOOL.how_to_get}")
    return found


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump(rule_groups()), encoding="utf-8")
    return file


def test_each_rule_says_what_its_cases_expect(promtool: Path, rules: Path) -> None:
    """`promtool test rules`, which evaluates them as Prometheus does."""
    cases = rules.with_name("cases.yml")
    cases.write_text(yaml.safe_dump(promtool_tests(rules.name)), encoding="utf-8")
    done = subprocess.run([promtool, "test", "rules", cases], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("scale", [1.0, TIME_SCALE])
def test_prometheus_takes_them(promtool: Path, tmp_path: Path, scale: float) -> None:
    """`promtool check rules`, at production's windows as well."""
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump(rule_groups(SLO(errors=0.001, slow=0.01), scale=scale)), encoding="utf-8")
    done = subprocess.run([promtool, "check", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_rule_is_without_a_case() -> None:
    """An alert has one in which it is raised, at each of its windows, and one in which it is not."""
    fires = {(case.alert, each.window) for case in CASES for each in case.fires}
    assert fires == {(alert.name, alert.labels.get("window", "")) for alert in alerts()}
    assert {case.alert for case in CASES if not case.fires} == {alert.name for alert in alerts()}
    assert {case.record for case in RECORDED} == set(recording_rules())


def test_every_alert_has_a_section_of_the_runbook() -> None:
    """Who is called at night is led to what it means and what to do."""
    page = (Path(__file__).parents[2] / "docs/monitoring.md").read_text(encoding="utf-8")
    for alert in alerts():
        assert f"### {alert.name}\n" in page


@pytest.mark.parametrize("scale", [0.0, -1.0, 2.0])
def test_a_time_scale_is_between_none_and_productions(scale: float) -> None:
    """In one line, with what is allowed."""
    with pytest.raises(UsageError, match="time scale: expected a number above 0 and up to 1"):
        alerts(scale=scale)


def test_a_promise_that_no_share_can_break_so_fast_has_no_such_alert() -> None:
    """14.4 times 10 % is more than all requests."""
    names = [
        alert.labels["window"] for alert in alerts(SLO(errors=0.1), scale=1.0) if alert.name.endswith("BudgetBurn")
    ]
    assert names == ["6h", "3d", "1h", "6h", "3d"]
    assert len(BURNS) == 3
