"""Faults of a cluster in the middle of a real canary, under load: what must hold whatever fails.

The faults of whole clusters are felt by everybody who shares it; these tests want one of their own.
"""

from __future__ import annotations

from typing import Any

from harness.backends.kubernetes.backend import KubernetesBackend
from harness.chaos.chaos import Chaos
from harness.chaos.faults import fault_named, phase_named
from harness.errors import CapabilityMissing
from harness.lifecycle.dataset import Dataset
from harness.lifecycle.rollout import Canary, Outcome
from harness.lifecycle.slo import SLO
from harness.load.ledger import Ledger
from harness.platform import Platform
from harness.service import Rollout

RPS = 40.0
# Wide enough that a busy machine and the moment of a fault are no verdict on the canary.
SLO_WIDE = SLO(errors=0.2, slower_than_ms=2000, slow=0.4)
POLICY = Canary(SLO_WIDE, steps=(50, 100), max_step_s=60.0, min_step_s=2.0)


def under(
    platform: Platform, dataset: Dataset, fault: str, phase: str, aim: str = "", replicas: int = 1, **settings: Any
) -> Case:
    """A canary with the fault in one of its phases; everything that became of it."""
    if not isinstance(platform.backend, KubernetesBackend):
        raise CapabilityMissing("a cluster", hint="pytest --backend kind")
    service = platform.deploy(platform.train(dataset, max_depth=2), replicas=replicas)
    better = platform.train(dataset, max_depth=4)
    chaos = Chaos(platform, fault_named(fault).with_settings(**settings), phase_named(phase), aim=aim)
    with platform.load(service, rps=RPS) as traffic:
        rollout = chaos.roll_out(service, better, POLICY)
    return Case(rollout, traffic.ledger, chaos.broken(traffic.ledger))


class Case:
    """How a canary under a fault ended, its ledger, and the invariants that broke."""

    def __init__(self, rollout: Rollout, ledger: Ledger, broken: dict[str, str]) -> None:
        self.rollout, self.ledger, self.broken = rollout, ledger, broken


def test_a_baseline_pod_that_is_killed_does_not_stop_the_canary(platform: Platform, high_utiliser: Dataset) -> None:
    """The requests that its end cut off are named, and nothing else is lost; the other Pod of the baseline serves."""
    case = under(platform, high_utiliser, "replica-killed", "watching", "baseline", replicas=2)

    assert case.broken == {}
    assert case.rollout.outcome is Outcome.PROMOTED


def test_a_gateway_that_is_killed_during_a_canary_comes_back_and_the_canary_comes_to_a_verdict(
    platform: Platform, high_utiliser: Dataset
) -> None:
    """Requests of its outage are named; the ledger explains every one, also those whose log line died with it.

    How long the outage is, the kubelet decides: it waits longer before each start of one that has died before. A long
    one is a fair reason to go back.
    """
    case = under(platform, high_utiliser, "gateway-restarted", "watching")

    assert case.broken == {}
    assert case.ledger.unexplained == 0
    assert case.rollout.outcome in (Outcome.PROMOTED, Outcome.ROLLED_BACK)


def test_a_canary_whose_image_is_missing_never_gets_traffic_and_is_rolled_back(
    platform: Platform, high_utiliser: Dataset
) -> None:
    """The baseline answers everything."""
    case = under(platform, high_utiliser, "image-missing", "starting")

    assert case.broken == {}
    assert case.rollout.outcome is Outcome.ROLLED_BACK
    assert case.ledger.classes == {"answered:v1": case.ledger.sent}


def test_a_canary_that_the_quota_refuses_never_gets_traffic_and_is_rolled_back(
    platform: Platform, high_utiliser: Dataset
) -> None:
    """The baseline answers everything."""
    case = under(platform, high_utiliser, "quota-exhausted", "starting")

    assert case.broken == {}
    assert case.rollout.outcome is Outcome.ROLLED_BACK
    assert case.ledger.classes == {"answered:v1": case.ledger.sent}


def test_a_canary_starts_once_the_webhook_is_back(platform: Platform, high_utiliser: Dataset) -> None:
    """KServe's webhook answers nobody for a while: nothing changes meanwhile, and nothing is lost."""
    case = under(platform, high_utiliser, "webhook-down", "starting", lasts_s=5.0)

    assert case.broken == {}
    assert case.rollout.outcome is Outcome.PROMOTED
    assert case.ledger.lost == 0


def test_a_canary_goes_on_after_the_api_server_was_killed(platform: Platform, high_utiliser: Dataset) -> None:
    """Traffic does not go through it: no request is lost; without readings the canary gets no more traffic."""
    case = under(platform, high_utiliser, "api-server-restarted", "watching")

    assert case.broken == {}
    assert case.ledger.lost == 0


def test_a_drained_node_takes_the_service_down_by_name_and_it_is_back_after(
    platform: Platform, high_utiliser: Dataset
) -> None:
    """With one node there is nowhere to go: what is lost is lost while the Pods are away, and the end is clean."""
    case = under(platform, high_utiliser, "node-drained", "watching", lasts_s=5.0)

    assert case.broken == {}


def test_a_canary_that_errs_is_rolled_back(platform: Platform, high_utiliser: Dataset) -> None:
    """The model server in its Pod commits the fault that it is told."""
    case = under(platform, high_utiliser, "replica-errors", "watching", "canary", share=0.6)

    assert case.broken == {}
    assert case.rollout.outcome is Outcome.ROLLED_BACK
