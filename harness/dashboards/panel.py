"""What a dashboard is made of, as data: Grafana's JSON and the report's drawings are both made of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

SOURCE_TYPE = "prometheus"
"""As Grafana calls the kind of data source."""
VARIABLES = ("namespace", "service", "revision")
"""What a query may have as $namespace, $service and $revision, each the value of a regular expression match."""
PLACE = 'namespace=~"$namespace",service=~"$service"'
REVISION = f'{PLACE},revision=~"$revision"'
WINDOW = "$__rate_interval"
"""Grafana's own: long enough for a rate at the interval that is scraped in."""
_VARIABLE = re.compile(r"\$(\w+)")
_LEGEND = re.compile(r"\{\{\s*(\w+)\s*\}\}")


class Unit(StrEnum):
    """What a panel's values are, in the report's words; shares are in [0, 1]."""

    COUNT = ""
    REQUESTS = "requests"
    REQUESTS_A_SECOND = "requests/s"
    EVENTS_A_SECOND = "events/s"
    SHARE = "share"
    TIMES = "times"
    MILLISECONDS = "ms"
    SECONDS = "s"
    ROWS = "rows"


@dataclass(frozen=True)
class Limit:
    """A value from which on, above or below, a panel shows something bad."""

    at: float
    label: str
    bad: Literal["above", "below"] = "above"


@dataclass(frozen=True)
class Panel:
    """One query, drawn over time. `legend` names a line, with {{label}} of its series; `powers`: a logarithmic axis.

    `powers` are the lowest and the highest power of ten that is drawn.
    """

    title: str
    unit: Unit
    query: str
    legend: str
    says: str = ""
    limit: Limit | None = None
    powers: tuple[int, int] | None = None

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables that the query has."""
        used = set(_VARIABLE.findall(self.query))
        return tuple(name for name in VARIABLES if name in used)

    def promql(self, values: Mapping[str, str], window: str) -> str:
        """The query with a regular expression for each variable, and a duration for Grafana's rate interval."""
        known = {**values, WINDOW.removeprefix("$"): window}
        return _VARIABLE.sub(lambda found: known[found[1]], self.query)

    def name(self, labels: Mapping[str, str]) -> str:
        """What a line is called whose series has these labels, as Grafana would."""
        return _LEGEND.sub(lambda found: labels.get(found[1], ""), self.legend).strip()


@dataclass(frozen=True)
class Dashboard:
    """Panels about one question; `uid` is its address in Grafana and never changes.

    Of the variables in `many` any number of values may be chosen, of the others one.
    """

    uid: str
    title: str
    says: str
    panels: tuple[Panel, ...]
    many: tuple[str, ...] = ("revision",)

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables that its queries have, each after those that its choice depends on."""
        used = {name for panel in self.panels for name in panel.variables}
        return tuple(name for name in VARIABLES if name in used)
