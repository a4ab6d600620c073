"""Watches a revision scale in a world without a cluster: what its autoscaler saw and asked for."""

from __future__ import annotations

import threading

from harness.backends.embedded.autoscale import READ_S, Autoscaler
from harness.backends.embedded.scaled import Scaled
from harness.errors import UsageError
from harness.lifecycle.autoscaler import AutoscalerSpec, Look, MetricsModel


class ScaleWatch:
    """Follows one revision until `close`; a look is a change of the metric, of what is asked for or of what is ready.

    `now` tells the revision as it is; UsageError if nothing scales it.
    """

    def __init__(self, autoscaler: Autoscaler, namespace: str, service: str, revision: str, now: list[Scaled]) -> None:
        self._key = namespace, service, revision
        found = next((each for each in now if each.key == self._key), None)
        if found is None:
            raise UsageError(
                f"{namespace}/{service}: nothing scales {revision}",
                hint="give spec.predictor a maxReplicas above its minReplicas",
            )
        self._last = found
        self._looks: list[Look] = []
        self._blocked: dict[str, None] = {}
        self._lock = threading.Lock()
        self._window_s = autoscaler.options.window_s
        self._leave = autoscaler.watch(self._see)

    def looks(self) -> list[Look]:
        with self._lock:
            return list(self._looks)

    def blocked(self) -> list[str]:
        with self._lock:
            return list(self._blocked)

    def ready(self) -> int:
        with self._lock:
            return self._last.ready

    def request_cores(self) -> float:
        return dict(self._last.requests).get("cpu", 0.0)

    def spec(self) -> AutoscalerSpec:
        return self._last.spec

    def metrics(self) -> MetricsModel:
        """Figures are read all the time, and are means over the autoscaler's window."""
        return MetricsModel(every_s=2 * READ_S, window_s=self._window_s)

    def close(self) -> None:
        self._leave()

    def _see(self, each: Scaled, look: Look) -> None:
        if each.key != self._key:
            return
        with self._lock:
            self._last = each
            self._blocked |= dict.fromkeys(each.blocked)
            last = self._looks[-1] if self._looks else None
            if last is None or (last.metric, last.desired, last.ready) != (look.metric, look.desired, look.ready):
                self._looks.append(look)
