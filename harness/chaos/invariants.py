"""What must hold of every rollout under every fault: pure checks over its record, the run's events and the ledger.

Each check gives one line on what broke it, or "" where it held. Times are Unix seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.chaos.faults import EVERY_FAULT, Fault, Hits
from harness.lifecycle.rollout import Outcome
from harness.report.record import RolloutRecord
from harness.runtime.events import Event

SLACK_S = 0.5  # a death is told a moment after its connections broke, and an answer is on its way for a moment
GATEWAY = "envoy"
WITHHELD = "verdict on latency is withheld"  # by a load generator that was late itself: no crash is to blame
WENT_ON = ("rollout.promoted", "rollout.weight", "rollout.assigned", "rollout.mirrored")


@dataclass(frozen=True)
class Spell:
    """A time in which something did not serve, and why; `revision` is empty where it may be any."""

    start: float
    end: float
    why: str
    revision: str = ""

    def covers(self, request: Harmed) -> bool:
        """Whether the request was under way in this spell, at its revision as far as that is known."""
        touches = request.sent_at <= self.end + SLACK_S and request.ended_at >= self.start - SLACK_S
        return touches and (not self.revision or request.revision in ("", self.revision))


@dataclass(frozen=True)
class Harmed:
    """A request that no revision answered, or one with an error; the ledger's class says what became of it."""

    sent_at: float
    ended_at: float
    found: str
    revision: str = ""


@dataclass(frozen=True)
class Evidence:
    """All that is known of one rollout under one fault.

    `expected` is the outcome without the fault; "" if the fault may change it. `rollback_within_s` is the policy's.
    """

    record: RolloutRecord
    events: Sequence[Event]
    harmed: Sequence[Harmed]
    unexplained: int
    rollback_within_s: float
    max_age_s: float
    fault: Fault | None = None
    early: bool = True  # the fault came before the last evidence was in
    deaths: int = 0  # how often the rollout's process was killed
    expected: str = ""


Check = Callable[[Evidence], str]


def every_loss_is_named(evidence: Evidence) -> str:
    """Traffic has a healthy revision behind it, or the run says exactly when not."""
    known = [*deaths(evidence.events), *unserved(evidence.events)]
    known += [spell for spell in injected(evidence.events) if EVERY_FAULT[spell.why].harms]
    open_ = [request for request in evidence.harmed if not any(spell.covers(request) for spell in known)]
    if not open_:
        return ""
    first = open_[0]
    told = "; ".join(f"{spell.why} {spell.start:.2f} to {spell.end:.2f}" for spell in known) or "nothing"
    return f"{len(open_)} requests, the first {first.found} at {first.sent_at:.2f}, in no interval that is told: {told}"


def one_promotion(evidence: Evidence) -> str:
    """Never two promotions at once: one rollout at a time, and it promotes one revision at most once."""
    promoted = list(of_kind(evidence.events, "rollout.promoted"))
    wanted = 1 if evidence.record.outcome == Outcome.PROMOTED else 0
    # A rollout whose process died while it promoted promotes the same revision again, which changes nothing.
    if wanted and 1 <= len(promoted) <= 1 + evidence.deaths:
        return ""
    stuck = evidence.record.outcome == Outcome.ROLLED_BACK and len(promoted) <= 1 + evidence.deaths
    if len(promoted) == wanted or stuck:
        return ""
    return f"{len(promoted)} promotions in a rollout that ended {evidence.record.outcome!r}"


def weights_sum_to_100(evidence: Evidence) -> str:
    """Every routing that was in effect shares out all of the traffic; none at all only where the run says so."""
    known = list(of_kind(evidence.events, "service.unserved"))
    for event in of_kind(evidence.events, "service.routed"):
        weights: Mapping[str, int] = event.data.get("weights", {})
        total = sum(weights.values())
        named = total == 0 and any(abs(other.at - event.at) <= SLACK_S for other in known)
        if total != 100 and not named:
            return f"weights {dict(weights)} at {event.at:.2f} sum to {total}"
    return ""


def baseline_keeps_its_capacity(evidence: Evidence) -> str:
    """Until the canary was promoted, the baseline gives up no replica that is not replaced before."""
    had = living = owed = 0
    for event in evidence.events:
        if event.kind == "rollout.promoted":
            return ""
        if event.kind == "rollout.started":
            had = living
        if _replica(event) != evidence.record.baseline:
            continue
        if event.kind == "replica.died":
            # The fault's doing; who comes next is in its place, and frees nobody. One that never served is not missed.
            owed += event.data.get("was_ready", True)
        elif event.kind == "replica.ready":
            living, owed = (living, owed - 1) if owed else (living + 1, 0)
        else:
            living -= 1
            if living < had:
                return f"{event.message} at {event.at:.2f}: {living} of {had} replicas are left, nothing was promoted"
    return ""


def traffic_fits_the_outcome(evidence: Evidence) -> str:
    """At the end all traffic is the canary's if it was promoted, else the baseline's; or the run says nobody serves."""
    record = evidence.record
    serving = record.canary if record.outcome == Outcome.PROMOTED else record.baseline
    routed = [event.data.get("weights", {}) for event in of_kind(evidence.events, "service.routed")]
    if not routed and serving == record.baseline:
        return ""  # nothing was ever routed anew
    last = {name: weight for name, weight in routed[-1].items() if weight} if routed else {}
    if not last and any(math.isinf(spell.end) for spell in unserved(evidence.events)):
        return ""
    return "" if last == {serving: 100} else f"it ended {record.outcome!r} and the traffic is {last}"


def no_promotion_against_the_fault(evidence: Evidence) -> str:
    """A broken canary, and one of which there were no fresh readings, is never promoted; nor is its shadow cleared."""
    fault = evidence.fault
    if fault is None or not fault.bars_promotion or fault.lasts_s is not None or not evidence.early:
        return ""
    record = evidence.record
    passed = record.outcome == Outcome.PROMOTED or (record.kind == "shadow" and record.outcome == Outcome.CLEARED)
    return f"{record.outcome} in spite of {fault.name}: {record.reason}" if passed else ""


def nothing_goes_on_without_readings(evidence: Evidence) -> str:
    """While readings are missing, stale or late the rollout gives the canary no more traffic and no promotion."""
    for spell in injected(evidence.events):
        if EVERY_FAULT[spell.why].hits is not Hits.READINGS:
            continue
        # A reading that was fresh before the fault may still be acted on until it is too old.
        blind = spell.start + evidence.max_age_s + SLACK_S
        for event in evidence.events:
            if event.kind in WENT_ON and blind < event.at < spell.end:
                return f"{event.kind} ({event.message}) at {event.at:.2f}, {spell.why} since {spell.start:.2f}"
    return ""


def goes_on_as_if_it_had_not_died(evidence: Evidence) -> str:
    """A resumed rollout has the outcome of one that did not crash, and its evidence goes on."""
    record = evidence.record
    if not evidence.deaths:
        return ""
    if record.resumed != evidence.deaths:
        return f"its process died {evidence.deaths} times, its record says {record.resumed}"
    withheld = record.outcome == Outcome.NOT_ENOUGH_EVIDENCE and WITHHELD in record.reason
    if evidence.expected and record.outcome != evidence.expected and not withheld:
        return f"it ended {record.outcome!r}, without the crash {evidence.expected!r}: {record.reason}"
    times = [point.t_s for point in record.evidence]
    if any(later < earlier for earlier, later in pairwise(times)):
        return "its evidence goes back in time"
    return ""


def rollback_is_quick_and_paid(evidence: Evidence) -> str:
    """A rollback is in effect within the policy's time, and the record says what it cost."""
    record = evidence.record
    if record.outcome != Outcome.ROLLED_BACK:
        return ""
    cost = record.rollback
    if cost is None:
        return "the record does not say what the rollback cost"
    took = cost.effective_at - cost.decided_at
    late = f"in effect {took:.1f} s after the decision, {evidence.rollback_within_s:g} s are allowed"
    return "" if took <= evidence.rollback_within_s else late


def every_request_is_explained(evidence: Evidence) -> str:
    """The ledger has a class for every request."""
    return f"{evidence.unexplained} requests are unexplained" if evidence.unexplained else ""


INVARIANTS: Mapping[str, Check] = {
    check.__name__.replace("_", " "): check
    for check in (
        every_loss_is_named,
        one_promotion,
        weights_sum_to_100,
        baseline_keeps_its_capacity,
        traffic_fits_the_outcome,
        no_promotion_against_the_fault,
        nothing_goes_on_without_readings,
        goes_on_as_if_it_had_not_died,
        rollback_is_quick_and_paid,
        every_request_is_explained,
    )
}


def check(evidence: Evidence) -> dict[str, str]:
    """Every invariant with what broke it, "" where it held."""
    return {name: invariant(evidence) for name, invariant in INVARIANTS.items()}


def injected(events: Sequence[Event]) -> Iterator[Spell]:
    """From each fault's injection to its end; `why` is its name."""
    yield from _between(events, "chaos.began", "chaos.ended", lambda event: event.subject)


def unserved(events: Sequence[Event]) -> Iterator[Spell]:
    """The times in which a service had no healthy replica behind its traffic."""
    yield from _between(events, "service.unserved", "service.served", lambda event: f"unserved {event.subject}")


def of_kind(events: Sequence[Event], kind: str) -> Iterator[Event]:
    return (event for event in events if event.kind == kind)


def _between(events: Sequence[Event], begins: str, ends: str, why: Callable[[Event], str]) -> Iterator[Spell]:
    for number, event in enumerate(events):
        if event.kind == begins:
            after = (e.at for e in events[number:] if e.kind == ends and e.subject == event.subject)
            yield Spell(event.at, next(after, float("inf")), why(event), event.data.get("revision", ""))


def deaths(events: Sequence[Event]) -> Iterator[Spell]:
    """From a death to the next time that the one who died, or a replica in its place, is ready."""
    for number, event in enumerate(events):
        later = events[number:]
        if event.kind == "replica.died":
            revision = event.data.get("revision", "")
            back = (e.at for e in later if e.kind == "replica.ready" and e.data.get("revision") == revision)
            yield Spell(_since(event), next(back, float("inf")), f"death of {revision}", revision)
        elif event.kind == "process.died" and event.subject == GATEWAY:  # no other component is on a request's way
            back = (e.at for e in later if e.kind == "component.restarted" and e.subject == event.subject)
            yield Spell(_since(event), next(back, event.at), f"death of {event.subject}")
        elif event.kind == "process.died" and event.subject.count(".") == 2:  # as "production.iris.v2-1" is told first
            revision = event.subject.rpartition("-")[0].rpartition(".")[2]
            yield Spell(event.at, event.at, f"death of {event.subject}", revision)


def _since(event: Event) -> float:
    """When it happened, where that was told later than it did."""
    return min(event.at, float(event.data.get("since", event.at)))


def _replica(event: Event) -> str:
    """The revision of a replica that came or went; "" for other events."""
    if event.kind == "replica.retired":
        return event.message.split(" ")[0].rpartition("-")[0]
    told: str = event.data.get("revision", "") if event.kind in ("replica.ready", "replica.died") else ""
    return told
