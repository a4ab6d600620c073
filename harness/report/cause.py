"""The most likely cause of a run that did not pass: what happened before its first symptom, ranked.

A suspect's score is its specificity (how much of what went wrong it explains by itself) times how near it came before
the symptom, times how likely it shows in that part of the platform. The weights were set by hand, so that a cause
outranks what follows from it: a full disk, a fault that was injected, a model that cannot be loaded, a nursery that
takes its forks along, the gateway, a replica, and last the model itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from harness.report import _format as fmt
from harness.report._rollout_view import ended_well
from harness.report.record import (
    ClusterFinding,
    EventRecord,
    GuardVerdict,
    LoadRecord,
    LoadTimeline,
    RolloutRecord,
    RunRecord,
    Status,
)
from harness.report.symptom import AFTER_S, Room, Symptom, first_symptom

FAR = 0.5  # what a suspect at the far end of the window is worth, of one at the symptom
CLUSTER_CLOCK_S = AFTER_S + 1.0  # a cluster tells times in whole seconds
FULL_CORE = 0.85  # of a core over a second: a replica computes on one, and has little more to give
ELSEWHERE = 0.3  # what a suspect is worth that belongs to another part of the platform, or to another service

_FULL = re.compile(r"the disk of .+? is full|a disk is full|No space left on device")
_SERVING: tuple[Room, ...] = ("serving", "evidence", "drift")


@dataclass(frozen=True)
class Suspect:
    """A possible cause: what, why it may be it, and the next thing to do; `about` tells two words for one thing."""

    words: str
    why: str
    next: str
    score: float
    about: str
    at: float | None = None


@dataclass(frozen=True)
class _Rule:
    """What an event of one sort is worth as a cause; `rooms`: where it shows, empty for everywhere."""

    fits: Callable[[EventRecord], bool]
    specificity: float
    because: str
    next: Callable[[EventRecord], str]
    rooms: tuple[Room, ...] = ()


def suspects(record: RunRecord) -> list[Suspect]:
    """All possible causes that the record knows of, the most likely first.

    There are none for a run that passed or was interrupted, nor for one of chaos, where each case has its fault.
    """
    if record.status in (Status.PASSED, Status.INTERRUPTED) or record.chaos:
        return []
    symptom = first_symptom(record, record.events)
    found = [*_of_events(record.events, symptom), *_of_cluster(record.cluster, symptom)]
    found += [*_full_disk(record), *_of_record(record, symptom)]
    best: dict[str, Suspect] = {}
    for suspect in sorted(found, key=lambda suspect: -suspect.score):
        best.setdefault(suspect.about, suspect)
    return _last_resort(list(best.values()))


def likely(record: RunRecord) -> str:
    """The most likely cause in one sentence with why; "" if nothing is known to have caused it."""
    return next((f"{suspect.words} ({suspect.why})" for suspect in suspects(record)), "")


def next_step(record: RunRecord) -> str:
    """What to do about the most likely cause, with commands in backticks; "" if nothing is known."""
    if record.status in (Status.PASSED, Status.INTERRUPTED):
        return ""
    for case in record.chaos:
        if any(case.invariants.values()):
            again = f"rehearse chaos --policy {case.policy} --phase {case.phase} --fault {case.fault}"
            return f"Play the first case that broke an invariant alone: `{again}`."
    return next((suspect.next for suspect in suspects(record)), "")


def _last_resort(found: list[Suspect]) -> list[Suspect]:
    """That nothing else happened speaks against the model only where it is true."""
    return [
        replace(each, why="if nothing above explains it") if each.about == "canary" and place else each
        for place, each in enumerate(found)
    ]


def _of_events(events: Iterable[EventRecord], symptom: Symptom) -> Iterator[Suspect]:
    for event in events:
        rule = next((rule for rule in _RULES if rule.fits(event)), None)
        if rule is None:
            continue
        score = rule.specificity * _nearness(event.at, symptom)
        score *= 1.0 if not rule.rooms or symptom.room in ("", *rule.rooms) else ELSEWHERE
        score *= 1.0 if _same_service(event, symptom) else ELSEWHERE
        why = f"{_when(event.at, symptom)}; {rule.because}"
        yield Suspect(_words(event), why, rule.next(event), score, _about(event), event.at)


def _of_cluster(findings: Iterable[ClusterFinding], symptom: Symptom) -> Iterator[Suspect]:
    """What was abnormal in the cluster: what lasts counts in full however long ago it began."""
    for finding in findings:
        if finding.at > symptom.at + CLUSTER_CLOCK_S:
            continue
        score = finding.weight * (1.0 if finding.lasting else _nearness(finding.at, symptom))
        where = f" Its description: `{finding.file}`." if finding.file else ""
        why = f"{_when(finding.at, symptom)}; {finding.because}"
        yield Suspect(finding.words, why, finding.next + where, score, finding.about, finding.at)


def _nearness(at: float, symptom: Symptom) -> float:
    """1 at the symptom, FAR at the window's beginning and before; what was noticed just after it counts as at it."""
    gap = max(0.0, symptom.at - at) / max(symptom.at - symptom.since, 1e-9)
    return 1.0 - (1.0 - FAR) * min(1.0, gap)


def _same_service(event: EventRecord, symptom: Symptom) -> bool:
    """False only for an event about a service that is known to be another one than the symptom's."""
    service = next((name for name in symptom.names if "/" in name), "")
    return not service or "/" not in event.subject or event.subject == service


def _when(at: float, symptom: Symptom) -> str:
    gap = symptom.at - at
    return f"{fmt.seconds(gap)} before {symptom.words}" if gap > 0 else f"at the time of {symptom.words}"


def _words(event: EventRecord) -> str:
    first = event.message.partition("\n")[0]
    if _injected(event):
        return f"an injected fault: {event.subject}: {first}"
    if _cannot_load(event):
        return f"{event.subject}: the model of {event.data.get('revision', 'a revision')} cannot be loaded: {first}"
    dotted = event.subject.replace("/", ".")
    return first if event.subject in first or dotted in first else f"{event.subject}: {first}"


def _about(event: EventRecord) -> str:
    """One thing that happened has several events: a replica's death is told by the supervisor and the controller."""
    if _injected(event):
        return f"fault {event.subject} {event.message}"
    if event.kind == "replica.died":
        return f"{event.subject.replace('/', '.')}.{event.data.get('revision', '')}"
    return re.sub(r"-\d+$", "", event.subject)  # production.iris.v2-1, the first replica of v2


def _log(event: EventRecord) -> str:
    return f"Read the end of `logs/{event.subject}.log`."


def _replica_log(event: EventRecord) -> str:
    name = f"{event.subject.replace('/', '.')}.{event.data.get('revision', '*')}"
    return f"Read the end of `logs/{name}-*.log`."


def _of_kind(*kinds: str) -> Callable[[EventRecord], bool]:
    return lambda event: event.kind in kinds


def _died(*names: str) -> Callable[[EventRecord], bool]:
    return lambda event: event.kind in ("process.died", "component.failed") and event.subject.startswith(names)


def _injected(event: EventRecord) -> bool:
    ended = event.kind.endswith(("cleared", "ended")) or event.data.get("signal") == "SIGCONT"
    return event.kind.startswith(("fault.", "chaos.")) and not ended


def _cannot_load(event: EventRecord) -> bool:
    return event.kind == "replica.died" and event.data.get("reason") == "ModelLoadFailed"


_RULES = (
    _Rule(_injected, 1.0, "it was meant to do harm",
          lambda _: "Run it without the fault: what still fails then has another cause."),
    _Rule(_cannot_load, 0.9, "a model that cannot be loaded answers nothing", _replica_log, _SERVING),
    _Rule(lambda event: "Envoy refused" in event.message, 0.88, "the gateway kept its old routes",
          lambda _: "Read the last lines of `logs/envoy.log`: they name the field.", _SERVING),
    _Rule(_died("nursery-drift"), 0.75, "drift is computed in it", _log, ("drift",)),
    _Rule(_died("nursery"), 0.86, "it takes along every process that was forked from it", _log),
    _Rule(_died("envoy"), 0.8, "every request goes through the gateway", _log, _SERVING),
    _Rule(_died("mlflow"), 0.75, "models are registered with it and loaded from it", _log, ("training",)),
    _Rule(_died("prometheus"), 0.75, "the metrics are asked from it", _log, ("metrics",)),
    _Rule(_died("load-"), 0.75, "it makes the requests", _log, _SERVING),
    _Rule(_of_kind("replica.died"), 0.7, "its requests were cut off", _replica_log, _SERVING),
    _Rule(_of_kind("machine.busy"), 0.5, "whatever runs on a busy machine is slow",
          lambda _: "Run it again when the machine is quiet: `rehearse run`.", ("serving", "evidence")),
    _Rule(_of_kind("rollout.blind"), 0.6, "without counters there is no evidence", lambda _: _LOGS, ("evidence",)),
    _Rule(_of_kind("process.died", "component.failed"), 0.5, "it ended without having been asked to", _log),
    _Rule(_of_kind("service.unserved"), 0.45, "requests had nowhere to go", lambda _: _LOGS, _SERVING),
    _Rule(_of_kind("controller.error", "component.restart_failed"), 0.4, "it changed nothing", lambda _: _LOGS),
    _Rule(_of_kind("replica.drain_timeout"), 0.35, "requests were cut off", lambda _: _LOGS, _SERVING),
)  # fmt: skip

_LOGS = "Read `events.jsonl` and `logs/` in the run folder."


def _full_disk(record: RunRecord) -> Iterator[Suspect]:
    """Whatever happens on a full disk follows from that."""
    told = [record.decided_by, *(step.error for step in record.steps), *(event.message for event in record.events)]
    found = next((match for text in told if (match := _FULL.search(text))), None)
    if found:
        words = found.group().replace("No space left on device", "a disk is full")
        yield Suspect(
            words, "nothing can be written", "Free some space, or use another disk: `--reports`.", 2.0, "disk"
        )


def _of_record(record: RunRecord, symptom: Symptom) -> Iterator[Suspect]:
    for load in record.loads:
        if load.distrust and symptom.room in _SERVING:
            yield _late(load, symptom)
    for rollout in record.rollouts:
        if not ended_well(rollout):
            yield from _of_rollout(rollout, symptom)
            yield from _saturated(record, rollout, symptom)


def _late(load: LoadRecord, symptom: Symptom) -> Suspect:
    score = 0.55 if symptom.room == "evidence" else 0.25
    step = "Give the load more `processes`, or fewer requests per second."
    return Suspect(
        f"the load generator was late: {load.distrust}", "latencies cannot be judged then", step, score, "late"
    )


def _saturated(record: RunRecord, rollout: RolloutRecord, symptom: Symptom) -> Iterator[Suspect]:
    """A canary that was too slow while its replicas computed without a pause: they are too few for the rate."""
    if not any(guard.guard.startswith("slow") and guard.decision == "roll back" for guard in _guards(rollout)):
        return
    replicas = len(_replicas(record, rollout, "replica.ready") - _replicas(record, rollout, "replica.died"))
    for load in record.loads:
        if not replicas or load.timeline is None or load.service != rollout.service:
            continue
        second = max(0, int((symptom.at - load.started_at) // load.timeline.step_s))
        cores = _cores(load.timeline, rollout.canary, second)
        if cores >= FULL_CORE * replicas:
            rate = sum(load.timeline.offered[second : second + 1]) / load.timeline.step_s
            whose = "its replica" if replicas == 1 else f"its {replicas} replicas"
            words = (
                f"{rollout.canary} is saturated: {whose} used {cores:.2f} cores "
                f"while the service was offered {rate:g} requests/s"
            )
            step = (
                "Offer fewer requests per second (`rps` in `[load]`), or give the service more replicas; "
                "`rehearse load --find-capacity` says how many it answers."
            )
            yield Suspect(words, "requests wait for each other then, however good the model", step, 0.5, "saturated")


def _replicas(record: RunRecord, rollout: RolloutRecord, kind: str) -> set[str]:
    """The canary's replicas that have an event of this kind: the first words of what it says."""
    return {
        event.message.partition(" ")[0]
        for event in record.events
        if (event.kind, event.subject) == (kind, rollout.service) and event.data.get("revision") == rollout.canary
    }


def _guards(rollout: RolloutRecord) -> Iterator[GuardVerdict]:
    for step in rollout.steps:
        yield from step.guards


def _cores(timeline: LoadTimeline, revision: str, entry: int) -> float:
    """What the revision used in this entry or in the next, whichever is more; 0 if that is not known."""
    known = timeline.server_cpu.get(revision, [])[entry : entry + 2]
    return max((value for value in known if math.isfinite(value)), default=0.0)


def _of_rollout(rollout: RolloutRecord, symptom: Symptom) -> Iterator[Suspect]:
    if rollout.split.get("passed") is False:
        yield Suspect(
            f"the traffic was not split as configured: {rollout.reason}", "a correct split fails once in a million",
            "Compare the split with the routes in `logs/envoy.log`.", 0.78, "split",
        )  # fmt: skip
    broken = any(guard.decision == "roll back" for guard in _guards(rollout))
    log = f"logs/{rollout.service.replace('/', '.')}.{rollout.canary}-*.log"
    if broken:
        why = f"no other event in the {fmt.seconds(symptom.at - symptom.since)} before {symptom.words} explains it"
        words = f"{rollout.canary} itself: {rollout.reason}"
        yield Suspect(words, why, f"Read what it answered: `{log}`.", 0.3, "canary")
    elif rollout.outcome == "not enough evidence":
        step = "Give it more requests per second or a longer `max_step_s`; `rehearse simulate` says how many it needs."
        yield Suspect(f"too few requests: {rollout.reason}", "nothing was shown either way", step, 0.25, "few")
