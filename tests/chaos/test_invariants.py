"""Each invariant holds on a sound rollout, and is red on one that was doctored to break it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from harness.chaos.faults import fault_named
from harness.chaos.invariants import INVARIANTS, Evidence, Harmed, check
from harness.report.record import EvidencePoint, RollbackCost, RolloutRecord
from harness.runtime.events import Event

SERVICE = "production/model"


def event(at: float, kind: str, message: str = "", subject: str = SERVICE, **data: Any) -> Event:
    return Event(at, kind, subject, message, "info", data)


def routed(at: float, **weights: int) -> Event:
    return event(at, "service.routed", weights=weights)


PROMOTION = (
    event(1, "replica.ready", revision="v1"),
    routed(1, v1=100),
    event(10, "rollout.started"),
    event(11, "replica.ready", revision="v2"),
    routed(12, v1=50, v2=50),
    routed(14, v1=0, v2=100),
    event(16, "rollout.promoted"),
    routed(17, v2=100),
    event(18, "replica.retired", "v1-1 drained and stopped"),
)
ROLLBACK = (*PROMOTION[:5], event(13, "rollout.rolled_back"), routed(13.1, v1=100))
COST = RollbackCost(first_bad_at=12.5, decided_at=13.0, effective_at=13.1, harmed=30, requests=600, budget_share=1.0)


def record(**fields: Any) -> RolloutRecord:
    points = [EvidencePoint(t_s=t, percent=50, guard="errors", good=1, bad=1) for t in (1.0, 2.0, 3.0)]
    known: dict[str, Any] = {
        "service": SERVICE,
        "policy": "canary 50-100 %",
        "baseline": "v1",
        "canary": "v2",
        "outcome": "promoted",
        "reason": "within the SLO",
        "steps": [],
        "duration_s": 7.0,
        "evidence": points,
    }
    return RolloutRecord(**{**known, **fields})


def sound(**fields: Any) -> Evidence:
    known: dict[str, Any] = {"harmed": (), "unexplained": 0, "rollback_within_s": 30, "max_age_s": 5}
    return Evidence(**{**known, "record": record(), "events": PROMOTION, **fields})


def rolled_back(**fields: Any) -> Evidence:
    return sound(**{"record": record(outcome="rolled back", rollback=COST), "events": ROLLBACK, **fields})


@pytest.mark.parametrize("evidence", [sound(), rolled_back()], ids=["promoted", "rolled back"])
def test_a_sound_rollout_breaks_none(evidence: Evidence) -> None:
    """All invariants are checked, and each says nothing."""
    assert check(evidence) == dict.fromkeys(INVARIANTS, "")


STALE = event(10.5, "chaos.began", subject="metrics-stale")
LATE_RESUME = record(resumed=1, evidence=list(reversed(record().evidence)))
DOCTORED: dict[str, tuple[str, Evidence]] = {
    "a request is refused and nothing says why": (
        "every loss is named",
        sound(harmed=[Harmed(12.0, 12.1, "refused:UH")]),
    ),
    "a request fails long after the replica that had died was back": (
        "every loss is named",
        sound(
            events=(
                *PROMOTION,
                event(20, "replica.died", revision="v2"),
                event(21, "replica.ready", revision="v2"),
            ),
            harmed=[Harmed(25.0, 25.1, "answered:v2 with 503", "v2")],
        ),
    ),
    "one revision fails while the other's replica is dead": (
        "every loss is named",
        sound(
            events=(*PROMOTION, event(20, "replica.died", revision="v2")),
            harmed=[Harmed(20.0, 20.1, "answered:v1 with 503", "v1")],
        ),
    ),
    "the tracking server is dead, which is on no request's way": (
        "every loss is named",
        sound(
            events=(
                *PROMOTION,
                event(20, "process.died", subject="mlflow"),
                event(24, "component.restarted", subject="mlflow"),
            ),
            harmed=[Harmed(22.0, 22.1, "refused:UH")],
        ),
    ),
    "a fault that harms nobody is no excuse": (
        "every loss is named",
        sound(events=(STALE, *PROMOTION), harmed=[Harmed(12.0, 12.1, "refused:UH")]),
    ),
    "it promotes twice": ("one promotion", sound(events=(*PROMOTION, event(19, "rollout.promoted")))),
    "it promotes and says that it did not": (
        "one promotion",
        sound(record=record(outcome="not enough evidence")),
    ),
    "weights are lost": ("weights sum to 100", sound(events=(routed(0, v2=10), *PROMOTION))),
    "nothing is routed and nobody says so": (
        "weights sum to 100",
        sound(events=(event(0, "service.routed"), *PROMOTION)),
    ),
    "the baseline is retired too soon": (
        "baseline keeps its capacity",
        sound(events=(*PROMOTION[:4], event(13, "replica.retired", "v1-1 drained and stopped"), *PROMOTION[4:])),
    ),
    "a replacement for a dead replica is taken for one more": (
        "baseline keeps its capacity",
        sound(
            events=(
                *PROMOTION[:4],
                event(12, "replica.died", revision="v1"),
                event(13, "replica.ready", revision="v1"),
                event(14, "replica.retired", "v1-2 drained and stopped"),
                *PROMOTION[4:],
            )
        ),
    ),
    "the traffic is with the other": (
        "traffic fits the outcome",
        rolled_back(events=(*ROLLBACK, routed(14, v1=50, v2=50))),
    ),
    "nobody has the traffic": ("traffic fits the outcome", sound(events=PROMOTION[-2:-3])),
    "a canary that fails is promoted": (
        "no promotion against the fault",
        sound(fault=fault_named("replica-errors")),
    ),
    "a shadow that fails is cleared": (
        "no promotion against the fault",
        sound(
            record=record(outcome="cleared", kind="shadow"),
            events=(*ROLLBACK[:2], event(13, "rollout.cleared")),
            fault=fault_named("replica-errors"),
        ),
    ),
    "readings are stale and it goes on": (
        "nothing goes on without readings",
        sound(events=(STALE, *PROMOTION), max_age_s=2),
    ),
    "a crash changes the outcome": (
        "goes on as if it had not died",
        sound(record=record(resumed=1), deaths=1, expected="rolled back"),
    ),
    "a crash is not in the record": ("goes on as if it had not died", sound(deaths=1, expected="promoted")),
    "evidence goes back": ("goes on as if it had not died", sound(record=LATE_RESUME, deaths=1, expected="promoted")),
    "a rollback is late": (
        "rollback is quick and paid",
        rolled_back(rollback_within_s=0.05),
    ),
    "a rollback without its cost": (
        "rollback is quick and paid",
        rolled_back(record=record(outcome="rolled back")),
    ),
    "a request is unexplained": ("every request is explained", sound(unexplained=3)),
}


@pytest.mark.parametrize("doctored", DOCTORED)
def test_what_breaks_an_invariant_is_told_in_a_line(doctored: str) -> None:
    """The invariant that is broken says so."""
    name, evidence = DOCTORED[doctored]
    told = check(evidence)[name]
    assert told
    assert "\n" not in told


def test_every_invariant_has_a_doctored_run_that_breaks_it() -> None:
    """A check that nothing breaks checks nothing."""
    assert {name for name, _ in DOCTORED.values()} == set(INVARIANTS)


def test_a_promoted_canary_that_breaks_later_and_leaves_nobody_is_told_by_the_run() -> None:
    """Its model became garbage after the verdict: no traffic is right, as long as the run says that nobody serves."""
    nobody = (*PROMOTION, event(19, "service.unserved"), event(19, "service.routed"))
    assert check(sound(events=nobody)) == dict.fromkeys(INVARIANTS, "")
    served = (*PROMOTION, event(19, "service.unserved"), event(20, "service.served"), event(21, "service.routed"))
    assert check(sound(events=served))["traffic fits the outcome"]


EXCUSED: dict[str, Callable[[Evidence], Evidence]] = {
    "its replica had just been killed": lambda sound: replace(
        sound, events=(*sound.events, event(20, "replica.died", revision="v2"))
    ),
    "the gateway had been killed": lambda sound: replace(
        sound, events=(*sound.events, event(19.9, "process.died", subject="envoy"))
    ),
    "the service says that nobody serves": lambda sound: replace(
        sound, events=(*sound.events, event(19, "service.unserved"), event(21, "service.served"))
    ),
    "it hangs": lambda sound: replace(
        sound, events=(*sound.events, event(19, "chaos.began", subject="replica-hangs", revision="v2"))
    ),
}


@pytest.mark.parametrize("why", EXCUSED)
def test_a_lost_request_is_named_by_what_the_run_says_of_that_moment(why: str) -> None:
    """Sent before or in an interval that names it, at the revision that it names."""
    evidence = EXCUSED[why](sound(harmed=[Harmed(19.9, 20.1, "gave up:v2:UC", "v2")]))
    assert check(evidence)["every loss is named"] == ""


def test_a_replica_that_was_replaced_may_go_though_its_successor_is_killed_while_it_drains() -> None:
    """It was given up when its successor was ready; that this one then died is the fault's doing."""
    replaced = (
        event(11, "replica.ready", revision="v1"),
        event(12, "replica.died", revision="v1"),
        event(12.1, "replica.retired", "v1-1 drained and stopped"),
        event(13, "replica.ready", revision="v1"),
    )
    evidence = sound(events=(*PROMOTION[:3], *replaced, *PROMOTION[3:]))
    assert check(evidence)["baseline keeps its capacity"] == ""


def test_a_replica_that_never_served_is_not_missed() -> None:
    """A successor that could not start on a full disk leaves nobody to be replaced; the next one frees the first."""
    replaced = (
        event(11, "replica.died", revision="v1", reason="StartFailed", was_ready=False),
        event(12, "replica.ready", revision="v1"),
        event(12.5, "replica.retired", "v1-1 drained and stopped"),
    )
    evidence = sound(events=(*PROMOTION[:3], *replaced, *PROMOTION[3:]))
    assert check(evidence)["baseline keeps its capacity"] == ""


def test_a_promotion_that_was_asked_for_again_after_a_crash_is_one() -> None:
    """The successor cannot know whether the first one was done; doing it again changes nothing."""
    again = (*PROMOTION, event(19, "rollout.promoted"))
    evidence = sound(events=again, deaths=1, record=record(resumed=1), expected="promoted")
    assert check(evidence) == dict.fromkeys(INVARIANTS, "")
