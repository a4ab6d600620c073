"""Faults of containers, each in a canary on real Docker: whatever it is, the invariants of the chaos matrix hold."""

from __future__ import annotations

import pytest

from harness import SLO, Outcome, Platform
from harness.backends.containers.session import ContainerSession
from harness.chaos.case import run_case
from harness.chaos.chaos import Chaos
from harness.chaos.matrix import Case
from harness.chaos.models import SavedModels, saved_models
from harness.lifecycle.dataset import Dataset
from harness.lifecycle.rollout import Canary, Phase
from harness.runtime.events import Event

RPS = 30.0
GENTLE = SLO(errors=0.05, slower_than_ms=500, slow=0.2)
CASES = [
    Case("canary", Phase.WATCHING, "replica-killed", "baseline"),
    Case("canary", Phase.WATCHING, "replica-hangs", "baseline"),
    Case("canary", Phase.WATCHING, "replica-out-of-memory", "canary"),
    Case("canary", Phase.WATCHING, "replica-out-of-memory", "baseline"),
    Case("canary", Phase.WATCHING, "replica-cut-off", "baseline"),
    Case("canary", Phase.SHIFTING, "gateway-restarted"),
    Case("canary", Phase.WATCHING, "mlflow-down"),
]


@pytest.fixture
def models(containers_world: ContainerSession, platform: Platform) -> SavedModels:
    """The models of this session's cases, saved once."""
    return saved_models(platform, containers_world.folder / "chaos-models")


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_the_invariants_hold(case: Case, platform: Platform, models: SavedModels) -> None:
    """What is killed, paused, out of memory or cut off costs no request that nothing explains."""
    found = run_case(platform, models, case, rps=RPS)
    platform.run.record.chaos.append(found)
    broken = {name: told for name, told in found.invariants.items() if told}
    assert not broken, f"{found.outcome}: {found.detail}"


def test_a_replica_that_meets_its_memory_limit_is_named_with_the_cause(platform: Platform, models: SavedModels) -> None:
    """The kernel killed it, and the events say why."""
    events: list[Event] = []
    platform.run.events.listen(events.append)
    found = run_case(platform, models, Case("canary", Phase.WATCHING, "replica-out-of-memory", "canary"), rps=RPS)
    assert not [told for told in found.invariants.values() if told]
    died = [event.message for event in events if event.kind == "replica.died"]
    assert any("killed by signal 9: out of memory, its limit is 1024 MiB" in message for message in died), died


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param("volume-full", marks=pytest.mark.fault("volume-full", phase="starting")),
        pytest.param("dns-slow", marks=pytest.mark.fault("dns-slow", phase="starting")),
    ],
)
def test_what_a_starting_replica_needs_fails_for_a_while(
    fault: str, containers_world: ContainerSession, platform: Platform, chaos: Chaos, high_utiliser: Dataset
) -> None:
    """Its model cannot be written, or names are told late: the canary is late, and no request is lost."""
    v1 = platform.train(high_utiliser, max_depth=2, runner="local")
    v2 = platform.train(high_utiliser, max_depth=6, runner="local")
    service = platform.deploy(v1)
    with platform.load(service, rps=RPS) as traffic:
        rollout = chaos.roll_out(service, v2, Canary(GENTLE, steps=(50, 100)))
    assert rollout.outcome is Outcome.PROMOTED, rollout.reason
    assert chaos.broken(traffic.ledger) == {}
    assert traffic.ledger.unexplained == traffic.ledger.lost == 0
