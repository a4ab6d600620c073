"""One case of the matrix, from a fresh service to the invariants."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from harness.backends.backend import Capability, Part
from harness.backends.document import parse
from harness.chaos.chaos import Chaos, Plan
from harness.chaos.faults import Hits, fault_named, phase_name
from harness.chaos.inject import SMALL_DISK_MB
from harness.chaos.matrix import Case
from harness.chaos.models import SavedModel, SavedModels
from harness.chaos.policies import USERS, policy_for, without_fault
from harness.chaos.small_disk import run_there
from harness.errors import CapabilityMissing, LoadFailed, RehearsalError
from harness.lifecycle.rollout import Approval, Phase, State
from harness.report.record import ChaosCase
from harness.runtime.clock import WALL
from harness.runtime.space import free_mb

if TYPE_CHECKING:
    from harness.load.generator import Load
    from harness.platform import Platform
    from harness.service import Service

RPS = 100.0  # a third of what two cores serve beside everything that a case starts
THINKS_S = 0.5
ENDS = "it comes to an end"


def run_case(platform: Platform, models: SavedModels, case: Case, *, rps: float = RPS) -> ChaosCase:
    """Roll out under load with the case's fault; what broke is in `invariants`, never an exception of the platform.

    Raises CapabilityMissing for a fault that cannot be had here.
    """
    fault = fault_named(case.fault)
    embedded = platform.backend.name == "embedded"
    if fault.hits is Hits.DISK and embedded and free_mb(platform.run.folder) > SMALL_DISK_MB:
        return run_there(platform, models.requests.parent, case, rps)
    if case.fault == "prometheus-down":
        platform.require(Capability.METRICS)
        platform.start(Part.METRICS)
    began = time.monotonic()
    chaos = Chaos(platform, fault, case.phase, aim=case.aim, before=_way_to(case))
    try:
        broken = {ENDS: "", **_rehearse(platform, models, case, chaos, rps)}
    except CapabilityMissing:
        raise
    except RehearsalError as error:
        broken = {ENDS: error.message.splitlines()[0]}
    record = chaos.rollout.record if chaos.rollout else None
    cost = record.rollback if record else None
    return ChaosCase(
        policy=case.policy,
        phase=phase_name(case.phase),
        fault=f"{case.fault}/{case.aim}" if case.aim else case.fault,
        outcome=record.outcome if record else "none",
        invariants=broken,
        duration_s=time.monotonic() - began,
        rollback_s=cost.reaction_s if cost else None,
        budget_share=cost.budget_share if cost else None,
        detail=record.reason if record else "",
    )


def _rehearse(platform: Platform, models: SavedModels, case: Case, chaos: Chaos, rps: float) -> dict[str, str]:
    canary = models.canary
    if case.fault == "model-corrupt":
        canary = canary.copy_to(platform.run.folder / "canary-model")
    service = _deployed(platform, models.baseline)
    policy = policy_for(case.policy, case.phase)
    load: Load | None = None
    try:
        with platform.load(service, rps=rps, users=USERS, payload=models.requests) as load:
            chaos.roll_out(service, canary, policy, approve=_thoughtful)
    except LoadFailed:
        if load is None or chaos.rollout is None:
            raise
    return chaos.check(load.ledger, expected=without_fault(case.policy, case.phase))


def _way_to(case: Case) -> list[Plan]:
    """The fault that brings a rollout into a phase that a good canary never sees."""
    if case.phase is Phase.ROLLING_BACK:
        return [(fault_named("replica-errors").with_settings(share=0.5), Phase.SHIFTING, "canary")]
    if case.policy == "ab" and case.phase is Phase.PROMOTING:
        return [(fault_named("replica-errors").with_settings(share=0.4), Phase.SHIFTING, "baseline")]
    return []


def _thoughtful(state: State) -> Approval | None:
    """A person who approves after a moment."""
    if WALL.now() - state.phase_at < THINKS_S:
        return None
    return Approval(state.percent, True, by="chaos")


def _deployed(platform: Platform, model: SavedModel) -> Service:
    served = {"modelFormat": {"name": "mlflow"}, "storageUri": model.uri}
    document: dict[str, Any] = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": model.name, "namespace": "production"},
        "spec": {"predictor": {"name": f"v{model.version}", "model": served}},
    }
    return platform.apply(parse(document))
