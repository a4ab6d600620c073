"""A machine that stands still for a moment makes both revisions slow: no canary is rolled back for it."""

from __future__ import annotations

import signal
import threading
import time

import psutil
import pytest

from harness import SLO, Outcome, Platform
from harness.lifecycle.dataset import Dataset
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait
from harness.service import Service

STANDSTILL_S = 0.4


@pytest.mark.alone
def test_a_standstill_of_the_machine_is_no_verdict_on_the_canary(platform: Platform, high_utiliser: Dataset) -> None:
    """Generator, gateway and servers stop together; what was due meanwhile leaves late, and the audit tells so."""
    service = platform.deploy(platform.train(high_utiliser, max_depth=2))
    candidate = platform.train(high_utiliser, max_depth=6)
    with platform.load(service, rps=400) as load:
        stopper = threading.Thread(target=_stand_still, args=(service,))
        stopper.start()
        rollout = service.canary(candidate, steps=(50, 100), slo=SLO(errors=0.01, slower_than_ms=100, slow=0.05))
        stopper.join()
    assert load.ledger.unexplained == 0
    assert any(latency.max_ms > STANDSTILL_S * 900 for latency in load.ledger.latency)
    assert rollout.outcome is Outcome.PROMOTED, rollout.reason


def _stand_still(service: Service) -> None:
    wait(lambda: _both_serve(service), what="requests to both", deadline=Deadline.after(30), every_s=0.05)
    stopped = psutil.Process().children(recursive=True)
    try:
        for process in stopped:
            process.send_signal(signal.SIGSTOP)
        time.sleep(STANDSTILL_S)
    finally:
        for process in stopped:
            process.send_signal(signal.SIGCONT)


def _both_serve(service: Service) -> bool:
    return sum(counts.requests > 50 for counts in service.counts(100)) == 2
