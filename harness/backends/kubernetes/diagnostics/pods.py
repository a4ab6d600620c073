"""What is abnormal in a Pod by its own status: where it waits, how its containers ended, who turned it out."""

from __future__ import annotations

from collections.abc import Iterator

from harness.backends.kubernetes.diagnostics.findings import FAILED_W, FOLLOWS_W, NODE_W, Teller
from harness.backends.kubernetes.diagnostics.snapshot import (
    Object,
    Snapshot,
    condition,
    container_statuses,
    created_at,
    namespace_of,
    reference,
    seconds,
    spec_of,
)
from harness.report.record import ClusterFinding

IMAGE = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "RegistryUnavailable")
CONFIGURATION = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
_BY_ITSELF = ("EvictionByEvictionAPI", "PreemptionByScheduler", "DeletionByTaintManager", "TerminationByKubelet")


def of_pod(pod: Object, seen: Snapshot) -> Iterator[ClusterFinding]:
    """What the Pod's status says."""
    yield from _of_placement(pod, seen)
    found = [each for status in container_statuses(pod) for each in _of_container(pod, status, seen)]
    yield from found or _of_readiness(pod, seen)


def _teller(pod: Object, seen: Snapshot, at: float, *, lasting: bool = True) -> Teller:
    return Teller(seen, namespace_of(pod), reference(pod), at or created_at(pod), lasting=lasting)


def _of_placement(pod: Object, seen: Snapshot) -> Iterator[ClusterFinding]:
    scheduled, turned_out = condition(pod, "PodScheduled"), condition(pod, "DisruptionTarget")
    status = pod.get("status", {})
    if scheduled.get("reason") == "Unschedulable":
        yield _teller(pod, seen, seconds(scheduled.get("lastTransitionTime"))).place(str(scheduled.get("message")))
    if turned_out.get("status") == "True" and turned_out.get("reason") in _BY_ITSELF:
        teller = _teller(pod, seen, seconds(turned_out.get("lastTransitionTime")), lasting=False)
        yield teller.evicted(str(turned_out["reason"]), str(turned_out.get("message") or turned_out["reason"]))
    elif status.get("reason") == "Evicted":
        yield _teller(pod, seen, seconds(status.get("startTime"))).evicted("Evicted", str(status.get("message")))
    elif status.get("reason") == "NodeLost":
        yield _teller(pod, seen, 0.0).say(
            "NodeLost", f"the node of {reference(pod)} is lost", "nothing on it is known to run", NODE_W
        )


def _of_container(pod: Object, status: Object, seen: Snapshot) -> Iterator[ClusterFinding]:
    waiting = (status.get("state") or {}).get("waiting") or {}
    reason, told = str(waiting.get("reason", "")), str(waiting.get("message") or waiting.get("reason", ""))
    teller = _teller(pod, seen, _waits_since(pod, seen))
    if reason in IMAGE:
        yield teller.image(reason, str(status.get("image")), told)
    elif reason in CONFIGURATION:
        yield teller.configuration(reason, told)
    elif end := _end(status):
        yield from _of_end(pod, status, end, seen)
    elif reason == "CrashLoopBackOff":
        yield teller.say(reason, f"{status.get('name')} of {reference(pod)} ends again and again", told, FAILED_W)


def _waits_since(pod: Object, seen: Snapshot) -> float:
    """When the kubelet first complained of the Pod; "" of a Pod that it never did, since it is there."""
    failed = [event for event in seen.events_of(pod) if event.get("reason") == "Failed"]
    return seconds(failed[0].get("firstTimestamp")) if failed else created_at(pod)


def _end(status: Object) -> Object:
    """How the container last ended, if that was not well."""
    for which in ("state", "lastState"):
        ended: Object = (status.get(which) or {}).get("terminated") or {}
        if ended.get("exitCode"):
            return ended
    return {}


def _of_end(pod: Object, status: Object, end: Object, seen: Snapshot) -> Iterator[ClusterFinding]:
    at, name = seconds(end.get("finishedAt")), str(status.get("name"))
    if at < seen.since:
        return
    teller = _teller(pod, seen, at, lasting=not status.get("ready"))
    if end.get("reason") == "OOMKilled":
        limits = (spec_of(pod, name).get("resources") or {}).get("limits") or {}
        yield teller.memory(name, str(limits.get("memory", "")))
    elif not (pod["metadata"].get("deletionTimestamp") and end["exitCode"] in (137, 143)):  # it was asked to end
        # Who is killed says nothing of it: the end of its log is about something else.
        logged = "" if end["exitCode"] == 137 else seen.last_words.get((namespace_of(pod), reference(pod), name), "")
        told = str(end.get("message") or logged)
        yield teller.crash(name, int(end["exitCode"]), int(status.get("restartCount", 0)), told)


def _of_readiness(pod: Object, seen: Snapshot) -> Iterator[ClusterFinding]:
    """Running, and not ready: something that it waits for, or its probe."""
    ready = condition(pod, "Ready")
    running = pod.get("status", {}).get("phase") == "Running" and not pod["metadata"].get("deletionTimestamp")
    if running and ready.get("status") == "False":
        words = f"{reference(pod)} runs and is not ready: {ready.get('message') or ready.get('reason')}"
        teller = _teller(pod, seen, seconds(ready.get("lastTransitionTime")))
        yield teller.say(
            "NotReady", words, "it gets no requests", FOLLOWS_W, about=f"{namespace_of(pod)}/{reference(pod)} probe"
        )
