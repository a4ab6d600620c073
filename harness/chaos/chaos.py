"""One rollout under one fault, as a test uses it: `roll_out` in place of the service's, then `check`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from harness.backends.backend import Capability
from harness.chaos.faults import Fault, Hits
from harness.chaos.harm import harmed
from harness.chaos.inject import Corruptible, Injection, Target
from harness.chaos.invariants import WITHHELD, Evidence, check
from harness.chaos.matrix import aims_of
from harness.chaos.readings import FaultyReadings
from harness.chaos.rollout_process import RolloutProcess
from harness.errors import CapabilityMissing, StepFailed, UsageError
from harness.lifecycle.driver import Approve, ServingPort, drive
from harness.lifecycle.rollout import Phase, Policy, State
from harness.report.record import RolloutRecord
from harness.runtime.events import Event
from harness.service import Rollout, Service

if TYPE_CHECKING:
    from harness.load.ledger import Ledger
    from harness.model_version import Servable
    from harness.platform import Platform

Plan = tuple[Fault, Phase, str]


class Chaos:
    """Arms a fault for one phase of the next rollout on a platform.

    `aim`: the revision that is hit, "canary" (the default) or "baseline"; for controller-killed the moment, "asked"
    (the default: the phase's action is not carried out yet) or "done" (it is, and the rollout has not heard so).
    `before` are faults that lead to the phase.
    """

    def __init__(
        self, platform: Platform, fault: Fault, phase: Phase, *, aim: str = "", before: Sequence[Plan] = ()
    ) -> None:
        allowed = aims_of(fault)
        self.aim = aim or allowed[0]
        if self.aim not in allowed:
            raise UsageError(
                f"fault {fault.name}: aim: expected {' or '.join(filter(None, allowed)) or 'none'}, got {aim!r}"
            )
        self.platform, self.fault, self.phase = platform, fault, phase
        self._plans: list[Plan] = [*before, (fault, phase, self.aim)]
        self._events: list[Event] = []
        self._process: RolloutProcess | None = None
        self._injection: Injection | None = None
        self._policy: Policy | None = None
        self.rollout: Rollout | None = None
        platform.run.events.listen(self._events.append)

    def roll_out(self, service: Service, model: Servable, policy: Policy, *, approve: Approve | None = None) -> Rollout:
        """As service.roll_out, with the fault in it; what lasts of the fault is ended when this returns."""
        if self.fault.hits is Hits.CONTROLLER:
            backend = self.platform.backend
            folder = self.platform.run.folder / "rollout-process"
            self._process = RolloutProcess(backend.supervisor, backend.warmth.nursery, folder)
        self._policy = policy

        def under_fault(policy: Policy, port: ServingPort, *arguments: Any, **options: Any) -> RolloutRecord:
            with ExitStack() as faults:
                return self._drive(faults, model, policy, FaultyReadings(port), *arguments, **options)

        self.rollout = service.roll_out(model, policy, approve=approve, driver=under_fault)
        return self.rollout

    def check(self, ledger: Ledger, *, expected: str = "") -> dict[str, str]:
        """Every invariant with what broke it, "" where it held; `expected` is the outcome without the fault.

        Raises StepFailed if the fault was never carried out: nothing was rehearsed; CapabilityMissing if
        that was because this machine was too busy for a verdict on latency.
        """
        if self.rollout is None or self._policy is None or self._injection is None:
            raise StepFailed("chaos: there was no rollout; use chaos.roll_out in place of service.roll_out")
        struck = self._injection.done and (self._process is None or self._process.deaths > 0)
        if not struck and WITHHELD in self.rollout.reason:
            raise CapabilityMissing(Capability.QUIET.value, hint=self.rollout.reason)
        if not struck:
            raise StepFailed(f"chaos: the rollout {self.rollout.outcome} without {self._injection.when}")
        return check(
            Evidence(
                record=self.rollout.record,
                events=sorted(self._events, key=lambda event: event.at),
                harmed=harmed(ledger),
                unexplained=ledger.unexplained,
                rollback_within_s=self._policy.rollback_within_s,
                max_age_s=self._policy.max_age_s,
                fault=self.fault if self.aim != "baseline" else None,
                early=self._injection.early,
                deaths=self._process.deaths if self._process else 0,
                expected=expected,
            )
        )

    def broken(self, ledger: Ledger, *, expected: str = "") -> dict[str, str]:
        """Only the invariants that do not hold, with what broke them."""
        return {name: told for name, told in self.check(ledger, expected=expected).items() if told}

    def _drive(
        self,
        faults: ExitStack,
        model: Servable,
        policy: Policy,
        port: FaultyReadings,
        *arguments: Any,
        on_state: Any,
        **options: Any,
    ) -> RolloutRecord:
        injections = [self._armed(plan, port, model) for plan in self._plans]
        self._injection = injections[-1]
        for injection in injections:
            faults.callback(injection.end)

        def listen(state: State) -> None:
            on_state(state)
            for injection in injections:
                injection(state)

        driver = self._process.drive if self._process else drive
        return driver(policy, port, *arguments, on_state=listen, **options)

    def _armed(self, plan: Plan, port: FaultyReadings, model: Servable) -> Injection:
        fault, phase, aim = plan
        namespace, name = port.service.split("/")
        target = Target(
            backend=self.platform.backend,
            events=self.platform.run.events,
            namespace=namespace,
            name=name,
            revision=port.baseline if aim == "baseline" else port.canary,
            readings=port,
            model=model if isinstance(model, Corruptible) else None,
            kill_controller=self._killer(aim) if self._process else None,
        )
        return Injection(fault, phase, target)

    def _killer(self, moment: str) -> Any:
        process = self._process
        assert process is not None

        def kill_after_action() -> None:
            process.after_action = lambda: None
            process.kill()

        def arm() -> None:
            process.after_action = kill_after_action

        return arm if moment == "done" else process.kill
