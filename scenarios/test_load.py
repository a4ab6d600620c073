"""Shapes of load on a served model: what is offered is the shape, in both protocols, and is recorded by second."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import SLO, Platform
from harness.lifecycle.dataset import Dataset
from harness.load.shapes import Ramp, Spike, Step
from harness.service import Service


@pytest.fixture
def service(platform: Platform, high_utiliser: Dataset) -> Service:
    """A small model, served."""
    return platform.deploy(platform.train(high_utiliser, max_depth=3))


def test_a_spike_is_answered_and_seen_by_second(platform: Platform, service: Service) -> None:
    """20, then 80, then 20 requests a second: nobody is lost, and the timeline has the peak where it was."""
    slo = SLO(errors=0.05, slower_than_ms=2000, slow=0.2)
    with platform.load(service, shape=Spike(20, 80, 2, 2, 2), slo=slo) as traffic:
        traffic.wait()
    ledger = traffic.ledger
    assert (ledger.sent, ledger.lost, ledger.unexplained) == (240, 0, 0)
    assert ledger.timeline.offered[:6] == [20, 20, 80, 80, 20, 20]
    assert sum(ledger.timeline.answered) == 240
    assert ledger.errors_verdict is not None
    assert ledger.errors_verdict.decision != "roll back"


def test_both_protocols_take_held_out_rows(platform: Platform, service: Service) -> None:
    """A ramp in V1, steps in V2: every answer is a good one."""
    with platform.load(service, shape=Ramp(5, 35, 2)) as first:
        first.wait()
    with platform.load(service, shape=Step((10, 30), 1), protocol="v2") as second:
        second.wait()
    for ledger in (first.ledger, second.ledger):
        assert ledger.classes == {f"answered:{service.revision}": 40}
        assert ledger.overall.failed == 0


def test_a_recorded_trace_is_replayed(platform: Platform, service: Service, tmp_path: Path) -> None:
    """Two bursts with a pause, each request with the body that it had, at twice the speed."""
    trace = tmp_path / "trace.csv"
    rows = [(burst * 3 + number / 20, number % 7) for burst in (0, 1) for number in range(20)]
    trace.write_text("timestamp,payload\n" + "".join(f"{at},{body}\n" for at, body in rows))
    with platform.load(service, shape=f"replay:trace={trace},speed=2") as traffic:
        traffic.wait()
    ledger = traffic.ledger
    assert (ledger.sent, ledger.lost, ledger.unexplained) == (40, 0, 0)
    assert ledger.timeline.offered[:2] == [20, 20]
