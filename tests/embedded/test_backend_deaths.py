"""MLflow and Prometheus die while a canary is rolled out: it goes on, they come back, and events say so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.backends.backend import Capability, Part
from harness.backends.document import parse
from harness.backends.embedded.backend import EmbeddedBackend
from harness.backends.inference_service import InferenceService
from harness.clients.http import client
from harness.runtime.clock import Deadline
from harness.runtime.events import Event, EventLog
from harness.runtime.wait import wait

ROW = [0.5, -0.25, 1.0]
MODELS = "tests.embedded.saved_models"


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def backend(tmp_path: Path, events: list[Event]) -> Iterator[EmbeddedBackend]:
    """With every part that can be had here, and two model versions in the registry."""
    log = EventLog(tmp_path / "events.jsonl")
    log.listen(events.append)
    made = EmbeddedBackend(tmp_path, log)
    parts = [Part.TRACKING, Part.SERVING] + [Part.METRICS] * (Capability.METRICS not in made.missing())
    made.start(parts, Deadline.after(60))
    nursery, models = made.warmth.nursery(), tmp_path / "saved"
    for name, target, arguments in (
        ("save", "save", (str(models),)),
        ("risk", "register", (made.tracking_uri, str(models / "shallow"), "risk")),
        ("other", "register", (made.tracking_uri, str(models / "deep"), "other")),
    ):
        child = made.supervisor.fork(name, f"{MODELS}:{target}", *arguments, nursery=nursery, task=True)
        assert child.wait(120) == 0, child.tail()
    yield made
    made.close()
    log.close()


def document() -> InferenceService:
    served = {"modelFormat": {"name": "mlflow"}, "storageUri": "models:/risk/1"}
    return parse(
        {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": "risk", "namespace": "production"},
            "spec": {"predictor": {"name": "v1", "model": served}},
        }
    )


def restarted(events: list[Event]) -> set[str]:
    return {event.subject for event in events if event.kind == "component.restarted"}


def test_a_rollout_goes_on_while_mlflow_and_prometheus_are_started_again(
    backend: EmbeddedBackend, events: list[Event]
) -> None:
    """A canary from the registry becomes ready, a dead baseline comes back from its kept model, counts go on."""
    base = document()
    backend.apply(base)
    backend.wait_ready("production", "risk", Deadline.after(60))
    faults = backend.faults
    killed = {"mlflow": faults.mlflow()}
    if Capability.METRICS not in backend.missing():
        killed["prometheus"] = faults.prometheus()
    for pid in killed.values():
        faults.kill(pid)
    (baseline,) = faults.replicas("production", "risk", "v1")
    faults.kill(baseline.pid)
    canary = base.with_canary("v2", "models:/other/1", 50)
    backend.apply(canary)
    wait(lambda: restarted(events) == killed.keys(), what="restarts", deadline=Deadline.after(60))
    backend.wait_ready("production", "risk", Deadline.after(60))
    with client(backend.gateway_url, timeout_s=20, headers={"host": base.host}) as http:
        answers = [http.post("/v1/models/risk:predict", json={"instances": [ROW]}) for _ in range(100)]
    assert {answer.status_code for answer in answers} == {200}
    counts = {each.revision: each.requests for each in backend.counts("production", "risk", 50)}
    assert sum(counts.values()) == 100
    assert counts.keys() == {"v1", "v2"}
    assert faults.mlflow() != killed["mlflow"]
