"""What is kept warm in the embedded world: one nursery for training and serving, one for drift."""

from __future__ import annotations

import threading

from harness.components import mlflow, model_server
from harness.lifecycle import drift, pipeline
from harness.runtime.nursery import Nursery
from harness.runtime.supervisor import Death, Supervisor

DRIFT_JOBS = "harness.lifecycle.drift:"
PRELOAD = (
    *mlflow.PRELOAD,
    *model_server.PRELOAD,
    "harness.lifecycle.sampling",
    *pipeline.PRELOAD,
)
ENV = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "OMP_NUM_THREADS": "1",  # forked workers share two cores; a thread pool each would only fight
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONWARNINGS": "ignore",
}


class Warmth:
    """Starts each nursery when it is first asked for, and anew if it died; platforms of one session may share them."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._nurseries: dict[str, Nursery] = {}
        self._lock = threading.Lock()

    @property
    def deaths(self) -> list[Death]:
        """The nurseries that died; the platforms of a session share them, and not the supervisor that saw it."""
        self._supervisor.settle()
        return [death for death in self._supervisor.deaths if death.nursery]

    def nursery(self) -> Nursery:
        """The nursery of training, tracking and serving."""
        return self._get("nursery", PRELOAD)

    def start_drift(self) -> Nursery:
        """The nursery of drift checks; Evidently's import takes seconds, so it is worth starting early."""
        return self._get("nursery-drift", drift.PRELOAD)

    def nursery_for(self, target: str) -> Nursery:
        """The nursery that has what a job needs."""
        return self.start_drift() if target.startswith(DRIFT_JOBS) else self.nursery()

    def _get(self, name: str, preload: tuple[str, ...]) -> Nursery:
        with self._lock:
            known = self._nurseries.get(name)
            if known is None or known.child.poll() is not None:
                self._nurseries[name] = self._supervisor.nursery(name, preload, env=ENV)
            return self._nurseries[name]
