"""The dashboards as Grafana's JSON, by Grafana's own builder library (grafana-foundation-sdk)."""

from __future__ import annotations

import json

from grafana_foundation_sdk.builders import common as build_common
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common, units
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    GridPos,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
    VariableSort,
)

from harness.dashboards.panel import SOURCE_TYPE, Dashboard, Limit, Panel, Unit

SOURCE = common.DataSourceRef(type_val=SOURCE_TYPE, uid="${datasource}")
TAG = "rehearsal"
COLUMNS, WIDTH, HEIGHT = 24, 12, 8
"""Grafana's grid, and one panel of it."""
EVERY = ".*"
UNITS = {
    Unit.COUNT: units.Short,
    Unit.REQUESTS: units.Short,
    Unit.REQUESTS_A_SECOND: units.RequestsPerSecond,
    Unit.EVENTS_A_SECOND: units.EventsPerSecond,
    Unit.SHARE: units.PercentUnit,
    Unit.TIMES: units.NoUnit,
    Unit.MILLISECONDS: units.Milliseconds,
    Unit.SECONDS: units.Seconds,
    Unit.ROWS: units.Short,
}
_NAMES = "rehearsal:requests:total"


def dashboard_json(dashboard: Dashboard) -> str:
    """What Grafana imports or is provisioned with."""
    return json.dumps(_build(dashboard).build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def _build(dashboard: Dashboard) -> build.Dashboard:
    built = (
        build.Dashboard(dashboard.title)
        .uid(dashboard.uid)
        .description(dashboard.says)
        .tags([TAG])
        .time("now-15m", "now")
        .refresh("5s")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .readonly()
        .with_variable(build.DatasourceVariable("datasource").label("Data source").type(SOURCE_TYPE))
    )
    for name in dashboard.variables:
        built.with_variable(_variable(name, dashboard))
    for number, panel in enumerate(dashboard.panels):
        built.with_panel(_panel(panel, number))
    return built


def _variable(name: str, dashboard: Dashboard) -> build.QueryVariable:
    """A choice among what has traffic."""
    known = dashboard.variables
    before = ",".join(f'{each}=~"${each}"' for each in known[: known.index(name)])
    variable = (
        build.QueryVariable(name)
        .label(name.capitalize())
        .datasource(SOURCE)
        .query(f"label_values({_NAMES}{{{before}}}, {name})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )
    return variable.multi(True).include_all(True).all_value(EVERY) if name in dashboard.many else variable


def _panel(panel: Panel, number: int) -> timeseries.Panel:
    query = prometheus.Dataquery().ref_id("A").datasource(SOURCE).expr(panel.query).legend_format(panel.legend).range()
    across = COLUMNS // WIDTH
    built = (
        timeseries.Panel()
        .id(number + 1)
        .title(panel.title)
        .description(panel.says)
        .datasource(SOURCE)
        .with_target(query)
        .unit(UNITS[panel.unit])
        .grid_pos(GridPos(h=HEIGHT, w=WIDTH, x=number % across * WIDTH, y=number // across * HEIGHT))
    )
    if panel.powers is None:
        built.axis_soft_min(0)
    else:
        log = build_common.ScaleDistributionConfig().type(common.ScaleDistribution.LOG).log(10)
        built.scale_distribution(log)
    return built if panel.limit is None else _limited(built, panel.limit)


def _limited(panel: timeseries.Panel, limit: Limit) -> timeseries.Panel:
    low, high = ("green", "red") if limit.bad == "above" else ("red", "green")
    steps = [Threshold(value=None, color=low), Threshold(value=limit.at, color=high)]
    style = build_common.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
    return panel.thresholds(build.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)).thresholds_style(style)
