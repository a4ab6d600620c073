"""What is abnormal by the events that a cluster keeps for an hour: also of objects that are gone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from harness.backends.kubernetes.diagnostics.findings import (
    CRASH_W,
    FAILED_W,
    FOLLOWS_W,
    MEMORY_W,
    NODE_W,
    PROBE_W,
    SCALE_W,
    STOPPED_W,
    VOLUME_W,
    Teller,
)
from harness.backends.kubernetes.diagnostics.snapshot import EVENT, Object, Snapshot, happened_at, last_at
from harness.report.record import ClusterFinding

Tells = Callable[[Teller, str, str], ClusterFinding | None]

_IMAGE = re.compile(r'image "(?P<image>[^"]+)"')
_NO_IMAGE = re.compile(r"pull|ErrImage|is not present", re.IGNORECASE)
_CONFIGURATION = re.compile(r'^Error: ((secret|configmap) "|couldn\'t find key|failed to (create|start) container)')
LASTS_S = 60.0
"""An event that came again so short before the look is still so."""


def of_events(seen: Snapshot) -> Iterator[ClusterFinding]:
    """What the events say, those from before the run left out."""
    for event in seen.of(EVENT):
        tells = RULES.get(str(event.get("reason")))
        if tells is None or last_at(event) < seen.since or _overcome(event, seen):
            continue
        found = tells(_teller(event, seen), str(event["reason"]), str(event.get("message", "")))
        if found is not None:
            yield found


def _overcome(event: Object, seen: Snapshot) -> bool:
    """Whether a volume that was late is there by now: a container of its Pod has started since."""
    if event["reason"] not in ("FailedMount", "FailedAttachVolume"):
        return False
    return any(
        other.get("reason") == "Started" and _about(other) == _about(event) and last_at(other) >= last_at(event)
        for other in seen.of(EVENT)
    )


def _about(event: Object) -> list[str]:
    about = event.get("involvedObject") or {}
    return [str(about.get(key, "")) for key in ("namespace", "name", "uid")]


def _teller(event: Object, seen: Snapshot) -> Teller:
    about = event.get("involvedObject") or {}
    what = f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"
    first = happened_at(event)
    lasting = event.get("type") == "Warning" and seen.at - last_at(event) < LASTS_S and last_at(event) > first
    return Teller(seen, str(about.get("namespace", "")), what, max(first, seen.since), lasting=lasting)


def _failed(teller: Teller, reason: str, told: str) -> ClusterFinding | None:
    """The kubelet's word for an image, a container or a sandbox that it cannot have."""
    if (image := _IMAGE.search(told)) and _NO_IMAGE.search(told):
        return teller.image("ErrImagePull", image["image"], told)
    if _NO_IMAGE.search(told):
        return None  # "Error: ErrImagePull" is about an image that another event names
    if _CONFIGURATION.match(told):
        return teller.configuration(reason, told.removeprefix("Error: "))
    return teller.say(reason, f"{teller.what}: {told}", "its container does not run", FAILED_W)


def _backs_off(teller: Teller, reason: str, told: str) -> ClusterFinding | None:
    if image := _IMAGE.search(told):
        return teller.image("ImagePullBackOff", image["image"], told)
    about = f"{teller.namespace}/{teller.what} ended"
    return teller.say(reason, f"{teller.what}: {told}", "it ended before", PROBE_W, about=about)


def _placed(teller: Teller, reason: str, told: str) -> ClusterFinding:
    return teller.place(told)


def _refused(teller: Teller, reason: str, told: str) -> ClusterFinding:
    return teller.refused(told)


def _evicted(teller: Teller, reason: str, told: str) -> ClusterFinding:
    return teller.evicted(reason, told)


def _probed(teller: Teller, reason: str, told: str) -> ClusterFinding:
    weight = CRASH_W if told.startswith("Liveness") else PROBE_W
    because = "its container is started anew" if told.startswith("Liveness") else "it gets no requests"
    about = f"{teller.namespace}/{teller.what} probe"
    return teller.say(reason, f"{teller.what}: {told}", because, weight, about=about)


def _stopped(teller: Teller, reason: str, told: str) -> ClusterFinding:
    """A Pod that was deleted, scaled away or drained; its container, if a liveness probe failed."""
    if "liveness" in told:
        return teller.say(reason, f"{teller.what}: {told}", "its requests were cut off", CRASH_W)
    words = f"{teller.what} was stopped: somebody deleted it, or scaled it down"
    return teller.say(reason, words, "its requests moved or were cut off", STOPPED_W, next="get events")


def _plain(words: str, because: str, weight: float) -> Tells:
    def tell(teller: Teller, reason: str, told: str) -> ClusterFinding:
        return teller.say(reason, f"{words.format(teller.what)}: {told}", because, weight)

    return tell


def _internal(teller: Teller, reason: str, told: str) -> ClusterFinding:
    if "webhook" in told or "forbidden" in told:
        return teller.refused(told)
    return teller.say(reason, f"{teller.what}: {told}", "its controller could not go on", FAILED_W)


_node = "what runs on it moves or stands still"
_job = "a step of the work failed"
_hpa = "the autoscaler stands still without figures"
RULES: dict[str, Tells] = {
    "Failed": _failed,
    "FailedCreatePodSandBox": _plain("{} has no sandbox", "it cannot start", CRASH_W),
    "ErrImageNeverPull": _failed,
    "BackOff": _backs_off,
    "FailedScheduling": _placed,
    "FailedCreate": _refused,
    "ReplicaSetCreateError": _refused,
    "Evicted": _evicted,
    "Preempted": _evicted,
    "TaintManagerEviction": _evicted,
    "Unhealthy": _probed,
    "Killing": _stopped,
    "FailedMount": _plain("a volume of {} cannot be mounted", "it waits for it", VOLUME_W),
    "FailedAttachVolume": _plain("a volume of {} cannot be attached", "it waits for it", VOLUME_W),
    "ProvisioningFailed": _plain("no volume can be had for {}", "who claims it waits", VOLUME_W),
    "NodeNotReady": _plain("{} is not ready", _node, NODE_W),
    "NodeNotSchedulable": _plain("{} was cordoned", _node, NODE_W),
    "Rebooted": _plain("{} was rebooted", _node, NODE_W),
    "SystemOOM": _plain("{} ran out of memory", _node, MEMORY_W),
    "OOMKilling": _plain("{} ran out of memory", _node, MEMORY_W),
    "BackoffLimitExceeded": _plain("{} failed", _job, FAILED_W),
    "DeadlineExceeded": _plain("{} failed", _job, FAILED_W),
    "FailedGetResourceMetric": _plain("{} has no figures", _hpa, SCALE_W),
    "FailedComputeMetricsReplicas": _plain("{} has no figures", _hpa, SCALE_W),
    "FailedRescale": _plain("{} could not scale", _hpa, FAILED_W),
    "InternalError": _internal,
    "ReconcileError": _internal,
    "UpdateFailed": _internal,
    "WorkloadFailed": _plain("{} failed", "KServe says so", FOLLOWS_W),
}
"""What an event of a reason says; a reason that is not here is no cause of anything."""
