"""The dashboards: valid for Grafana, of series that there are, and the same panels in Grafana and on the page."""

from __future__ import annotations

import json
import math
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from harness.backends.kubernetes.manifests import fill, load
from harness.backends.kubernetes.metrics import prometheus_values
from harness.cli import app, run_command
from harness.components.grafana import grafana
from harness.components.recording_rules import recording_rules
from harness.dashboards import DASHBOARDS, Dashboard
from harness.dashboards.grafana import COLUMNS
from harness.dashboards.provisioning import dashboard_files
from harness.monitoring import MOST_LINES, MOST_POINTS, panels
from harness.report.record import SeriesRecord
from harness.runtime.paths import data_folder
from tests.unit.grafana_schema import problems

PROMETHEUS_ITSELF = {"up", "ALERTS", "scrape_duration_seconds"}
DOCUMENTED = Path(__file__).parents[2] / "docs" / "monitoring.md"
FILES = {name: json.loads(text) for name, text in dashboard_files().items()}
UIDS = ["rehearsal-model-performance", "rehearsal-rollout", "rehearsal-drift", "rehearsal-platform"]


@pytest.mark.parametrize("name", FILES)
def test_a_dashboard_is_valid_by_grafana_s_schema(name: str) -> None:
    assert problems(FILES[name]) == []


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (("panels", 0, "titel"), "x", "dashboard.panels[0].titel: unknown"),
        (("panels", 0, "gridPos", "h"), "8", "dashboard.panels[0].grid_pos.h: '8' is no"),
        (("panels", 0, "datasource", "type"), "nobody", "targets[0]: of a kind of data source"),
        (("panels", 0, "fieldConfig", "defaults", "custom", "drawStyle"), "pie", "draw_style: 'pie' is no"),
        (("graphTooltip",), 7, "dashboard.graph_tooltip: 7 is no"),
        (("templating", "list", 0, "type"), "dropdown", "type_val: 'dropdown' is no"),
    ],
)
def test_what_the_schema_refuses_is_named(path: tuple[Any, ...], value: object, problem: str) -> None:
    """An unknown field, a wrong type, another data source, a value that is none of an enumeration."""
    spoilt = json.loads(dashboard_files()["rehearsal-rollout.json"])
    place = spoilt
    for each in path[:-1]:
        place = place[each]
    place[path[-1]] = value
    assert any(problem in each for each in problems(spoilt))


def test_addresses_of_dashboards_never_change() -> None:
    """Bookmarks and links in runbooks have them."""
    assert [FILES[f"{uid}.json"]["uid"] for uid in UIDS] == UIDS == [each.uid for each in DASHBOARDS]


@pytest.mark.parametrize("name", FILES)
def test_panels_have_ids_and_places_of_their_own_and_every_query_a_data_source(name: str) -> None:
    shown = FILES[name]["panels"]
    places = [each["gridPos"] for each in shown]
    assert len({each["id"] for each in shown}) == len({each["title"] for each in shown}) == len(shown) > 0
    assert all(place["x"] + place["w"] <= COLUMNS for place in places)
    assert not [pair for pair in combinations(places, 2) if overlap(*pair)]
    sources = [asked["datasource"] for each in shown for asked in each["targets"]]
    assert sources == [{"type": "prometheus", "uid": "${datasource}"}] * len(shown)


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda each: each.uid)
def test_grafana_is_given_the_panels_of_the_list_and_a_choice_for_every_variable(dashboard: Dashboard) -> None:
    given = FILES[f"{dashboard.uid}.json"]
    variables = [each["name"] for each in given["templating"]["list"]]
    assert [(each["title"], each["targets"][0]["expr"]) for each in given["panels"]] == [
        (panel.title, panel.query) for panel in dashboard.panels
    ]
    assert variables == ["datasource", *dashboard.variables]
    used = set(re.findall(r"\$(\w+)", json.dumps(given["panels"])))
    assert used - {"__rate_interval"} <= set(variables)


@pytest.mark.parametrize(("dashboard", "title", "query"), [
    (each.title, panel.title, panel.query) for each in DASHBOARDS for panel in each.panels
])  # fmt: skip
def test_a_panel_asks_for_recorded_and_documented_series_alone(dashboard: str, title: str, query: str) -> None:
    """A series is what a rule records, what the page about monitoring has in its table, or Prometheus's own."""
    series = {each.removesuffix("_bucket") for each in re.findall(r"([a-zA-Z_:][\w:]*)\{", query)}
    page = DOCUMENTED.read_text(encoding="utf-8")
    documented = [each.replace("*", ".*") for each in re.findall(r"`(\w+\*?)`", page[: page.index("## Recording")])]
    known = {*recording_rules(), *PROMETHEUS_ITSELF}
    assert series
    assert [each for each in series - known if not any(re.fullmatch(name, each) for name in documented)] == []


def test_a_grafana_in_a_container_finds_the_data_source_and_every_dashboard() -> None:
    files = grafana("http://prometheus:9090").files
    source = yaml.safe_load(files["provisioning/datasources/rehearsal.yaml"])["datasources"][0]
    provider = yaml.safe_load(files["provisioning/dashboards/rehearsal.yaml"])["providers"][0]
    below = provider["options"]["path"].removeprefix("{folder}/")
    assert (source["url"], source["isDefault"]) == ("http://prometheus:9090", True)
    assert {name: text for name, text in dashboard_files().items() if files[f"{below}/{name}"] == text}.keys() == set(
        FILES
    )


def test_a_grafana_in_a_cluster_finds_them_in_config_maps_that_its_sidecar_watches() -> None:
    """And no second default data source, with which a Grafana that has one does not start."""
    path = data_folder("manifests") / "system" / "prometheus" / "20-dashboards.yaml"
    documents = [fill(each, prometheus_values()) for each in load(path)]
    labels = [each["metadata"]["labels"] for each in documents]
    source = yaml.safe_load(documents[0]["data"]["rehearsal.yaml"])["datasources"][0]
    assert labels == [{"grafana_datasource": "1"}, *[{"grafana_dashboard": "1"}] * len(DASHBOARDS)]
    assert {name: text for each in documents[1:] for name, text in each["data"].items()} == dashboard_files()
    assert (source["isDefault"], source["url"].count("prometheus.rehearsal-system")) == (False, 1)


class Recorded:
    """A world whose Prometheus answers each range query with the same."""

    def __init__(self, points: dict[str, list[tuple[float, float]]]) -> None:
        self.points = points
        self.asked: list[tuple[str, float]] = []

    def query_range(self, promql: str, start_s: float, end_s: float, step_s: float) -> Any:
        self.asked.append((promql, (end_s - start_s) / step_s))
        return self.points


def recorded(points: dict[str, list[tuple[float, float]]], over_s: float = 20.0) -> tuple[Recorded, list[SeriesRecord]]:
    backend: Any = Recorded(points)
    return backend, panels(backend, [("production", "visits"), ("staging", "visits")], 0.0, over_s)


def test_a_run_of_any_length_records_a_bounded_number_of_points() -> None:
    """Once a second in a short one, as it is scraped; two hours are no larger."""
    for over_s, most in ((20.0, 20), (7200.0, MOST_POINTS)):
        backend, _ = recorded({}, over_s)
        assert len(backend.asked) == sum(len(each.panels) for each in DASHBOARDS)
        assert {points for _, points in backend.asked} == {most}
        assert not [promql for promql, _ in backend.asked if "$" in promql]


def test_lines_are_named_as_in_grafana_and_by_their_service_where_there_are_several() -> None:
    point = [(1.0, 2.0)]
    revision = '{{namespace="{}", revision="v1", service="visits"}}'.format
    _, one = recorded({revision("production"): point})
    _, two = recorded({revision("production"): point, revision("staging"): point})
    assert list(one[0].points) == ["v1"]
    assert list(two[0].points) == ["production/visits v1", "staging/visits v1"]


def test_a_panel_keeps_the_worst_lines_and_says_how_many_it_left_out() -> None:
    """The largest; where small is bad, the smallest; what is no number is no point."""
    many = {f'{{feature="f{at}", revision="r{at}"}}': [(1.0, float(at)), (2.0, math.nan)] for at in range(9)}
    _, found = recorded({**many, '{revision="never"}': [(1.0, math.nan)]})
    rate = found[0]
    evidence = next(each for each in found if each.name == "Evidence by feature")
    assert (list(rate.points), rate.left_out) == ([f"r{at}" for at in range(3, 9)], 9 - MOST_LINES)
    assert [name.partition(" ")[0] for name in evidence.points] == [f"f{at}" for at in range(6)]
    assert rate.points["r3"] == [(1.0, 3.0)]


def test_the_command_lists_the_panels_and_writes_what_grafana_reads(tmp_path: Path) -> None:
    listed = CliRunner().invoke(app, ["dashboards"]).output
    written = CliRunner().invoke(app, ["dashboards", "--write", str(tmp_path), "--json"]).output
    provider = yaml.safe_load((tmp_path / "dashboards" / "rehearsal.yaml").read_text())["providers"][0]
    assert all(panel.title in listed for each in DASHBOARDS for panel in each.panels)
    assert {path.name for path in Path(provider["options"]["path"]).iterdir()} == set(FILES)
    assert sorted(json.loads(written)["files"]) == sorted(str(path) for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize(("flags", "told"), [
    (["--write", "/proc/nowhere"], "cannot write /proc/nowhere/datasources/rehearsal.yaml"),
    (["--write", "x", "--prometheus", "localhost:9090"], "expected http://HOST:PORT or https://HOST, got"),
    (["--prometheus", "http://p:9090"], "is for the files that --write FOLDER writes"),
])  # fmt: skip
def test_what_cannot_be_written_is_one_line(
    flags: list[str], told: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command(["dashboards", *flags]) == 2
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return all(one[at] < other[at] + other[size] and other[at] < one[at] + one[size] for at, size in ("xw", "yh"))
