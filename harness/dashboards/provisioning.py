"""The files that Grafana reads at its start: a data source, and where the dashboards are."""

from __future__ import annotations

from typing import Any

import yaml

from harness.components.recording_rules import SCRAPE_S
from harness.dashboards import DASHBOARDS
from harness.dashboards.panel import SOURCE_TYPE

FOLDER = "Rehearsal"
DATA_SOURCE = "prometheus"


def files(prometheus: str, *, folder: str) -> dict[str, str]:
    """File below Grafana's provisioning folder -> text; `folder` is where Grafana finds that folder.

    `prometheus` is the data source's URL as Grafana sees it; without one there is none.
    """
    return {
        "datasources/rehearsal.yaml": data_source(prometheus, default=True),
        "dashboards/rehearsal.yaml": _yaml(_provider(f"{folder}/dashboards/rehearsal")),
        **{f"dashboards/rehearsal/{name}": text for name, text in dashboard_files().items()},
    }


def dashboard_files() -> dict[str, str]:
    """File name -> Grafana's JSON."""
    from harness.dashboards.grafana import dashboard_json

    return {f"{each.uid}.json": dashboard_json(each) for each in DASHBOARDS}


def data_source(prometheus: str, *, default: bool) -> str:
    """The file of a data source; a Grafana that has a default one already takes no second, and does not start."""
    source = {
        "name": "Prometheus" if default else "Rehearsal",
        "uid": DATA_SOURCE if default else "rehearsal",
        "type": SOURCE_TYPE,
        "access": "proxy",
        "url": prometheus,
        "isDefault": default,
        "jsonData": {"timeInterval": f"{SCRAPE_S}s"},
    }
    return _yaml({"apiVersion": 1, **({"datasources": [source]} if prometheus else {})})


def _provider(path: str) -> dict[str, Any]:
    provider = {
        "name": "rehearsal",
        "folder": FOLDER,
        "type": "file",
        "allowUiUpdates": False,
        "options": {"path": path},
    }
    return {"apiVersion": 1, "providers": [provider]}


def _yaml(document: dict[str, Any]) -> str:
    return yaml.safe_dump(document, sort_keys=False)
