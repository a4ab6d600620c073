"""A failed run opens with what most likely brought it down, by the events around its first symptom."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from harness._cli_run import verdict_lines
from harness.errors import StepFailed
from harness.report.cause import likely, next_step, suspects
from harness.report.record import EventRecord, Status, Step
from harness.report.symptom import MOST, around, first_symptom
from harness.run import Run
from tests.unit import sample_load, sample_record, sample_rollouts

FIRST_BAD = sample_rollouts.BEGAN + 0.42
SERVICE = "production/high-utiliser"


def event(before_s: float, kind: str, subject: str, message: str, **data: Any) -> EventRecord:
    return EventRecord(at=FIRST_BAD - before_s, kind=kind, subject=subject, message=message, level="warning", data=data)


GATEWAY = event(0.4, "process.died", "envoy", "envoy was killed by signal 9")
PROMETHEUS = event(0.1, "process.died", "prometheus", "prometheus was killed by signal 9")
REPLICA = event(
    0.3,
    "replica.died",
    SERVICE,
    "production.high-utiliser.v2-1 killed by signal 9",
    revision="v2",
    reason="ReplicaDied",
)
ELSEWHERE = event(
    0.1, "replica.died", "staging/high-utiliser", "staging.high-utiliser.v2-1 killed by signal 9", revision="v2"
)
MODEL = event(1.0, "replica.died", SERVICE, "KeyError: 'n_features'", revision="v2", reason="ModelLoadFailed")
FAULT = event(0.5, "fault.signal", "envoy", "SIGKILL to process 41", pid=41, signal="SIGKILL")
REFUSED = event(0.6, "controller.error", "controller", "gateway: new routes: Envoy refused them; duplicate domain")
NURSERY = event(0.2, "process.died", "nursery", "nursery ended with exit code 1")
UNSERVED = event(0.2, "service.unserved", SERVICE, "no healthy replica behind its traffic")
STUCK = event(0.2, "replica.drain_timeout", SERVICE, "v1 at 127.0.0.1 drained: timed out")
LOCUST = event(0.2, "process.died", "load-load-1", "load-load-1 was killed by signal 9")
BUSY = event(0.0, "machine.busy", "machine", "the machine is busy: load average 7.5 on 2 cores")
ERROR = event(0.2, "component.restart_failed", "envoy", "envoy ready: timed out")


@pytest.mark.parametrize(
    ("seen", "told", "step"),
    [
        (GATEWAY, "envoy was killed by signal 9 (400\u202fms before the first bad answer of v2", "logs/envoy.log"),
        (REPLICA, "production.high-utiliser.v2-1 killed by signal 9 (300\u202fms before", "high-utiliser.v2-*.log"),
        (MODEL, "the model of v2 cannot be loaded: KeyError: 'n_features'", "logs/production.high-utiliser.v2-*.log"),
        (FAULT, "an injected fault: envoy: SIGKILL to process 41", "without the fault"),
        (REFUSED, "Envoy refused them; duplicate domain", "logs/envoy.log"),
        (NURSERY, "nursery ended with exit code 1", "logs/nursery.log"),
        (UNSERVED, "no healthy replica behind its traffic", "events.jsonl"),
        (STUCK, "drained: timed out", "logs/"),
        (LOCUST, "load-load-1 was killed by signal 9", "logs/load-load-1.log"),
        (ERROR, "envoy ready: timed out", "logs/"),
        (BUSY, "load average 7.5 on 2 cores (at the time of the first bad answer of v2; whatever runs", "is quiet"),
    ],
)
def test_what_happened_before_the_first_bad_answer_is_the_likely_cause(seen: EventRecord, told: str, step: str) -> None:
    """With when it happened, and what to do next."""
    record = sample_rollouts.rolled_back_run([seen])

    assert told in likely(record)
    assert step in next_step(record)


@pytest.mark.parametrize(
    ("events", "told"),
    [
        ([REPLICA, GATEWAY], "envoy"),
        ([PROMETHEUS, REPLICA], "v2-1 killed"),
        ([ELSEWHERE, GATEWAY], "envoy"),
        ([ELSEWHERE, REPLICA], "production.high-utiliser.v2-1"),
        ([GATEWAY, NURSERY, REPLICA], "nursery"),
        ([GATEWAY, FAULT], "an injected fault"),
        ([MODEL, event(1.1, "chaos.began", "model-corrupt", "in watching")], "an injected fault: model-corrupt"),
        ([REPLICA, event(0.1, "chaos.ended", "replica-slow", "replica-slow has ended")], "v2-1 killed"),
        ([UNSERVED, MODEL], "cannot be loaded"),
        ([GATEWAY, event(28.0, "fault.injected", SERVICE, "v2: errors")], "envoy"),
        ([REPLICA, event(0.2, "fault.cleared", SERVICE, "v2: no fault")], "v2-1 killed"),
        ([REPLICA, event(0.2, "fault.signal", "envoy", "SIGCONT to process 41", signal="SIGCONT")], "v2-1 killed"),
    ],
)
def test_of_several_the_more_telling_and_the_nearer_comes_first(events: list[EventRecord], told: str) -> None:
    """A cause outranks what follows from it, and what has nothing to do with the symptom, whatever came last."""
    assert told in likely(sample_rollouts.rolled_back_run(events))
    assert told in likely(sample_rollouts.rolled_back_run(events[::-1]))


def test_the_wrong_part_of_the_platform_is_not_blamed() -> None:
    """Prometheus explains a failed comparison of metrics, and MLflow a failed training; neither a canary's errors."""
    record = sample_rollouts.rolled_back_run([PROMETHEUS])
    assert likely(record).startswith("v2 itself: errors: 23 of 198")

    record.rollouts = []
    record.steps = [Step(name="metrics", title="m", status=Status.FAILED, started_at=FIRST_BAD, duration_s=1.0)]
    assert likely(record).startswith("prometheus was killed")


def test_without_any_event_the_canary_itself_is_the_cause_and_says_so() -> None:
    record = sample_rollouts.rolled_back_run([])

    assert "no other event in the 30\u202fs before the first bad answer of v2 explains it" in likely(record)
    assert "logs/production.high-utiliser.v2-*.log" in next_step(record)


def test_one_death_is_one_suspect_however_many_events_tell_it() -> None:
    died = event(0.31, "process.died", "production.high-utiliser.v2-1", "production.high-utiliser.v2-1 was killed")
    again = event(0.05, "component.failed", "envoy", "envoy was killed by signal 9; no further restart")

    found = suspects(sample_rollouts.rolled_back_run([died, REPLICA, GATEWAY, again]))

    assert [suspect.about for suspect in found] == ["envoy", "production.high-utiliser.v2", "canary"]
    assert found[-1].why == "if nothing above explains it"


def test_the_terminal_names_the_likely_cause_too(tmp_path: Path) -> None:
    lines = verdict_lines(sample_rollouts.rolled_back_run([GATEWAY]), tmp_path).splitlines()

    assert next(line for line in lines if line.startswith("likely")).startswith("likely   envoy was killed by signal 9")
    assert not any(line.startswith("likely") for line in verdict_lines(sample_record.passed(), tmp_path).splitlines())


def test_a_full_disk_outranks_all_that_follows_from_it() -> None:
    record = sample_rollouts.rolled_back_run([FAULT, NURSERY])
    record.decided_by = "the disk of /run is full (0.0 MB left); then OSError"

    assert likely(record).startswith("the disk of /run is full")
    assert "--reports" in next_step(record)


def test_a_rollout_without_evidence_is_put_down_to_what_kept_it_from_evidence() -> None:
    """Blind metrics, then a late generator, then too few requests."""
    record = sample_rollouts.rolled_back_run([])
    rollout = record.rollouts[0]
    rollout.outcome, rollout.rollback, rollout.reason = "not enough evidence", None, "350 more requests are needed"
    rollout.steps[0].guards = []
    assert likely(record).startswith("too few requests: 350 more")
    assert "rehearse simulate" in next_step(record)

    record.loads[0].distrust = "p99 of the schedule delay was 40 ms"
    assert likely(record).startswith("the load generator was late")

    record.events = [event(-0.5, "rollout.blind", SERVICE, "no counters: refused")]
    assert "no counters: refused" in likely(record)


READY = event(2.0, "replica.ready", SERVICE, "production.high-utiliser.v2-3 ready in 0.19 s", revision="v2")
SECOND = event(2.0, "replica.ready", SERVICE, "production.high-utiliser.v2-4 ready in 0.2 s", revision="v2")


EARLY = event(50.0, "replica.ready", SERVICE, "production.high-utiliser.v2-2 ready in 0.2 s", revision="v2")
LOST = event(1.0, "replica.died", SERVICE, "production.high-utiliser.v2-2 killed by signal 9", revision="v2")


@pytest.mark.parametrize(
    ("events", "cores", "told"),
    [
        ([READY], 0.91, "v2 is saturated: its replica used 0.91 cores while the service was offered 400 requests/s"),
        ([EARLY, READY], 0.91, "v2 itself"),
        ([EARLY, LOST, READY], 0.91, "production.high-utiliser.v2-2 killed"),
        ([READY, SECOND], 1.8, "v2 is saturated: its 2 replicas used 1.80 cores"),
        ([READY, SECOND], 0.91, "v2 itself"),
        ([READY], 0.4, "v2 itself"),
        ([READY], math.nan, "v2 itself"),
        ([], 0.91, "v2 itself"),
        ([READY, GATEWAY], 0.91, "envoy was killed"),
    ],
)
def test_a_slow_canary_whose_replicas_never_pause_is_saturated(
    events: list[EventRecord], cores: float, told: str
) -> None:
    """The remedy is another rate or more replicas; where its replicas are not known, nothing is claimed."""
    record = sample_rollouts.rolled_back_run(events)
    record.rollouts[0].steps[-1].guards[0].guard = "slow"
    load = sample_load.load(seconds=5)
    assert load.timeline is not None
    load.started_at, load.timeline.server_cpu["v2"], load.timeline.offered[2] = FIRST_BAD - 2.5, [0.1, 0.2, cores], 400
    record.loads = [load]
    record.events = around(record, events)
    assert likely(record).startswith(told)
    assert ("`rehearse load --find-capacity`" in next_step(record)) == ("saturated" in told)


def test_a_wrong_split_is_the_gateways_not_the_canarys() -> None:
    record = sample_rollouts.rolled_back_run([])
    record.rollouts[0].split = {"passed": False, "steps": []}

    assert likely(record).startswith("the traffic was not split as configured")


def test_a_run_that_passed_or_was_interrupted_has_no_cause() -> None:
    assert likely(sample_record.passed()) == next_step(sample_record.passed()) == ""
    assert likely(sample_record.interrupted()) == ""


def test_a_chaos_run_asks_to_play_the_broken_case_alone() -> None:
    """The fault is no news there."""
    record = sample_rollouts.chaos()
    record.events = [FAULT]

    assert likely(record) == ""
    assert "`rehearse chaos --policy ab --phase shifting --fault replica-errors`" in next_step(record)


def test_the_first_symptom_is_the_earliest_of_all() -> None:
    """A failed request, a bad answer that the rollout saw, no replica, the end of a step."""
    record = sample_rollouts.rolled_back_run([])
    assert first_symptom(record).words == "the first bad answer of v2"

    (load,) = record.loads
    assert load.timeline is not None
    load.timeline.failed["failed"][0] = 1
    assert first_symptom(record).words == "the first bad answer of v2"  # known more exactly than to the second
    record.loads[0].started_at -= 1.0
    assert first_symptom(record).words == "the first failed request of canary"
    outage = event(1.0, "service.unserved", SERVICE, "x", since=FIRST_BAD - 1.5)
    mended = event(50.0, "service.unserved", SERVICE, "x")
    assert first_symptom(record, [mended, outage]).words == f"the outage of {SERVICE}"
    assert first_symptom(record, [mended, outage]).at == FIRST_BAD - 1.5

    record.rollouts, record.loads = [], []
    assert first_symptom(record).words == "the end of the step canary"
    record.steps = []
    assert first_symptom(record).words == "the end of the run"


def test_a_long_step_is_looked_at_from_its_beginning() -> None:
    record = sample_rollouts.rolled_back_run([])
    record.rollouts, record.loads = [], []
    record.steps = [Step(name="s", title="s", status=Status.FAILED, started_at=FIRST_BAD, duration_s=200.0)]

    kept = around(record, [event(-1.0, "process.died", "mlflow", "mlflow was killed by signal 9")])

    assert len(kept) == 1


def test_the_events_that_are_kept_are_the_weighty_ones_near_the_symptom() -> None:
    """In order; neither progress, nor what came long before or after."""
    many = [
        event(10 - i / 100, "service.routed", SERVICE, str(i)).model_copy(update={"level": "info"}) for i in range(900)
    ]
    others = [
        event(90.0, "process.died", "a", "long before"),
        event(-9.0, "process.died", "b", "after"),
        event(0.0, "step.progress", "c", "progress"),
    ]

    kept = around(sample_rollouts.rolled_back_run([]), [*many, *others, REPLICA])

    assert len(kept) == MOST
    assert REPLICA in kept
    assert kept == sorted(kept, key=lambda each: each.at)
    assert not {"long before", "after", "progress"} & {each.message for each in kept}


def test_a_failed_run_keeps_the_events_and_a_passed_one_none(tmp_path: Path) -> None:
    """From events.jsonl, as it was written; a line that a full disk cut short is left out."""
    failed = Run(tmp_path / "failed", title="t", backend="embedded")
    failed.events.emit("process.died", "envoy", "envoy was killed by signal 9", level="warning", code=-9, all=[1, 2])
    with failed.events.path.open("a") as file:
        file.write('{"at": 12')
    record = failed.finish(StepFailed("canary rolled back", hint="see"))

    assert [(each.kind, each.data) for each in record.events] == [("process.died", {"code": -9})]
    assert "Most likely: envoy was killed by signal 9" in (tmp_path / "failed" / "index.html").read_text()
    assert "Most likely: envoy was killed by signal 9" in (tmp_path / "failed" / "junit.xml").read_text()
    assert json.loads((tmp_path / "failed" / "run.json").read_text())["events"][0]["subject"] == "envoy"

    passed = Run(tmp_path / "passed", title="t", backend="embedded")
    passed.events.emit("process.died", "envoy", "envoy was killed by signal 9", level="warning")
    assert passed.finish().events == []
