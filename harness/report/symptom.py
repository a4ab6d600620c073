"""When a run first went wrong, and the events around that moment, which its record keeps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from harness.report._rollout_view import began, ended_well
from harness.report.record import EventRecord, LoadRecord, RolloutRecord, RunRecord, Status, Step

Room = Literal["serving", "evidence", "training", "drift", "metrics", ""]

BEFORE_S = 30.0
AFTER_S = 2.0  # a death is noticed a moment after the first request that it failed
MOST = 60  # events that a record keeps

_ROOMS: dict[str, Room] = {
    "baseline": "training", "candidate": "training", "gate": "training", "staging": "serving",
    "canary": "serving", "ab": "serving", "blue-green": "serving", "shadow": "serving",
    "drift": "drift", "metrics": "metrics",
}  # fmt: skip


@dataclass(frozen=True)
class Symptom:
    """The first thing that was seen to go wrong: when (Unix seconds), since when it may have brewed, and in words.

    `room` is the part of the platform that it showed in, "" if that is not known; "evidence" is a rollout that found
    none. `names` are the service and the revisions that it is about.
    """

    at: float
    since: float
    words: str
    room: Room
    names: frozenset[str] = frozenset()


def first_symptom(record: RunRecord, events: Iterable[EventRecord] = ()) -> Symptom:
    """The earliest symptom of a run that did not pass; its end, if nothing else tells when it went wrong."""
    end = _symptom(record.started_at + record.duration_s, "the end of the run", "")
    found = [*_of_rollouts(record.rollouts), *_of_loads(record.loads), *_of_steps(record.steps)]
    first = min(found, key=lambda symptom: symptom.at, default=end)
    # An outage long before anything else went wrong was mended.
    outages = (outage for outage in _unserved(events) if first.since <= outage.at < first.at)
    return min(outages, key=lambda symptom: symptom.at, default=first)


def around(record: RunRecord, events: Iterable[EventRecord]) -> list[EventRecord]:
    """The events around the first symptom, in order, without progress lines; at most MOST, the weightiest kept."""
    events = list(events)
    symptom = first_symptom(record, events)
    near = [
        event
        for event in events
        if (symptom.since <= event.at or _of_a_replica(event, symptom))
        and event.at <= symptom.at + AFTER_S
        and event.level != "debug"
        and event.kind not in ("step.progress", "run.finished")
    ]

    def rank(event: EventRecord) -> tuple[bool, float]:
        return event.level == "info" and not _of_a_replica(event, symptom), abs(event.at - symptom.at)

    return sorted(sorted(near, key=rank)[:MOST], key=lambda event: event.at)


def _of_a_replica(event: EventRecord, symptom: Symptom) -> bool:
    """Of the service that the symptom is about: how many there were counts, however long ago they were started."""
    return event.kind in ("replica.ready", "replica.died") and event.subject in symptom.names


def _symptom(at: float, words: str, room: Room, names: Iterable[str] = (), since: float | None = None) -> Symptom:
    return Symptom(at, min(at - BEFORE_S, since or at), words, room, frozenset(names))


def _of_rollouts(rollouts: Iterable[RolloutRecord]) -> Iterator[Symptom]:
    for rollout in rollouts:
        if ended_well(rollout):
            continue
        names = (rollout.service, rollout.baseline, rollout.canary)
        cost, end = rollout.rollback, began(rollout) + rollout.duration_s
        if cost is not None and cost.first_bad_at is not None:
            yield _symptom(cost.first_bad_at, f"the first bad answer of {rollout.canary}", "serving", names)
        elif rollout.outcome == "rolled back":
            at = cost.decided_at if cost is not None else end
            yield _symptom(at, f"the roll back of {rollout.canary}", "serving", names)
        else:
            words = f"the end of the rollout of {rollout.canary}"
            yield _symptom(end, words, "evidence", names, since=began(rollout))


def _of_loads(loads: Iterable[LoadRecord]) -> Iterator[Symptom]:
    for load in loads:
        if failed := load.failed_seconds():
            words = f"the first failed request of {load.name}"
            # Known to the second: its end, so that a more exact time of the same symptom comes first.
            yield _symptom(load.started_at + failed[0], words, "serving", (load.service,))
        elif load.unexplained:
            words = f"unexplained requests of {load.name}"
            end = load.started_at + load.duration_s
            yield _symptom(end, words, "serving", (load.service,), since=load.started_at)


def _of_steps(steps: Iterable[Step]) -> Iterator[Symptom]:
    for step in steps:
        if step.status is Status.FAILED:
            words = f"the end of the step {step.name}"
            yield _symptom(step.started_at + step.duration_s, words, _ROOMS.get(step.name, ""), (), step.started_at)


def _unserved(events: Iterable[EventRecord]) -> Iterator[Symptom]:
    for event in events:
        if event.kind == "service.unserved":
            since = float(event.data.get("since", event.at))
            yield _symptom(since, f"the outage of {event.subject}", "serving", (event.subject,))
