"""The dashboards: one list of panels for Grafana and for a run's report."""

from __future__ import annotations

from harness.dashboards.drift import DRIFT
from harness.dashboards.model_performance import MODEL_PERFORMANCE
from harness.dashboards.panel import Dashboard, Limit, Panel, Unit
from harness.dashboards.platform import PLATFORM
from harness.dashboards.rollout import ROLLOUT

DASHBOARDS = (MODEL_PERFORMANCE, ROLLOUT, DRIFT, PLATFORM)

__all__ = ["DASHBOARDS", "Dashboard", "Limit", "Panel", "Unit"]
