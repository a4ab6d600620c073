"""What is abnormal in the conditions of all but Pods: services, workloads, routes, autoscalers, quotas, nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from harness.backends.kubernetes.diagnostics.findings import (
    CONFIG_W,
    CRASH_W,
    FAILED_W,
    FOLLOWS_W,
    NODE_W,
    PROBE_W,
    QUOTA_W,
    ROUTE_W,
    SCALE_W,
    WEBHOOK_W,
    Teller,
)
from harness.backends.kubernetes.diagnostics.snapshot import (
    CLAIM,
    ENDPOINTS,
    GATEWAY,
    HPA,
    ISVC,
    JOB,
    NODE,
    QUOTA,
    ROUTE,
    WEBHOOKS,
    Object,
    Snapshot,
    condition,
    conditions,
    created_at,
    name_of,
    namespace_of,
    reference,
    seconds,
)
from harness.report.record import ClusterFinding

_CHANGED = "endpoints.kubernetes.io/last-change-trigger-time"

Look = Callable[[Object, Snapshot], Iterator[ClusterFinding]]


def _teller(found: Object, seen: Snapshot, told: Object | None = None) -> Teller:
    at = seconds((told or {}).get("lastTransitionTime")) or created_at(found)
    return Teller(seen, namespace_of(found), reference(found), at, lasting=True)


def _why(told: Object) -> str:
    return ": ".join(filter(None, (told.get("reason"), told.get("message")))) or str(told.get("status"))


def _workload(found: Object, seen: Snapshot) -> Iterator[ClusterFinding]:
    failure, progress = condition(found, "ReplicaFailure"), condition(found, "Progressing")
    if failure.get("status") == "True":
        yield _teller(found, seen, failure).refused(str(failure.get("message")))
    if progress.get("reason") == "ProgressDeadlineExceeded":
        words = f"{reference(found)} does not come forward: {progress.get('message')}"
        yield _teller(found, seen, progress).say("ProgressDeadlineExceeded", words, "its Pods are not ready", FOLLOWS_W)


def _service(found: Object, seen: Snapshot) -> Iterator[ClusterFinding]:
    """An InferenceService: a model that cannot be loaded, a canary that is not ready, itself not ready."""
    status, ready = found.get("status", {}), condition(found, "Ready")
    model = status.get("modelStatus") or {}
    if failure := model.get("lastFailureInfo"):
        words = f"{reference(found)} cannot load its model: {_why(failure)}"
        yield _teller(found, seen, ready).say(
            str(failure.get("reason", "ModelLoadFailed")), words, "it cannot serve without it", CONFIG_W
        )
    for canary in status.get("canaryStatuses") or ():
        if not canary.get("ready"):
            words = f"the canary {canary.get('name')} of {reference(found)} is not ready: {_why(canary)}"
            about = f"{namespace_of(found)}/{name_of(found)} {canary.get('name')}"
            yield _teller(found, seen, ready).say("CanaryNotReady", words, "it gets no traffic", PROBE_W, about=about)
    if ready.get("status") == "False":
        parts = [f"{each['type']} {_why(each)}" for each in conditions(found) if _bad_part(each)]
        words = f"{reference(found)} is not ready: {'; '.join(parts) or _why(ready)}"
        yield _teller(found, seen, ready).say("NotReady", words, "it follows from one of its parts", FOLLOWS_W)


def _bad_part(told: Object) -> bool:
    own = told.get("type") in ("Ready", "Stopped", "RoutesReady", "LatestDeploymentReady")
    return told.get("status") == "False" and told.get("severity") != "Info" and not own


def _job(found: Object, seen: Snapshot) -> Iterator[ClusterFinding]:
    failed = condition(found, "Failed")
    if failed.get("status") == "True":
        words = f"{reference(found)} failed: {_why(failed)}"
        command = f"logs {reference(found)} --all-containers"
        yield _teller(found, seen, failed).say("JobFailed", words, "a step of the work failed", FAILED_W, next=command)


def _autoscaler(found: Object, seen: Snapshot) -> Iterator[ClusterFinding]:
    for kind in ("AbleToScale", "ScalingActive"):
        told = condition(found, kind)
        if told.get("status") == "False" and told.get("reason") != "ScalingDisabled":
            words = f"{reference(found)} cannot scale: {_why(told)}"
            yield _teller(found, seen, told).say(str(told.get("reason")), words, "the autoscaler stands still", SCALE_W)


def _quota(found: Object, seen: Snapshot) -> Iterator[ClusterFinding]:
    """Used up is no failure by itself: somebody must have asked for more."""
    status = found.get("status", {})
    used: Mapping[str, str] = status.get("used") or {}
    full = [name for name, hard in (status.get("hard") or {}).items() if used.get(name) == hard and hard != "0"]
    if full:
        amounts = ", ".join(f"{name} {used[name]}" for name in full)
        words = f"the quota {name_of(found)} of {namespace_of(found)} is used up: {amounts}"
        about, weight = f"quota {namespace_of(found)}/{name_of(found)}", QUOTA_W / 2
        yield _teller(found, seen).say(
            "QuotaUsedUp", words, "whatever asks for more is not created", weight, about=about
        )


def _gateway(found: Object, seen: Snapshot) -> Iterator[ClusterFinding]:
    for told in conditions(found):
        if told.get("type") in ("Accepted", "Programmed") and told.get("status") == "False":
            words = f"{reference(found)} is not {str(told['type']).lower()}: {_why(told)}"
            yield _teller(found, seen, told).say(
                f"Not{told['type']}", words, "every request goes through it", CRASH_W, about=f"gateway {name_of(found)}"
            )


def _route(found: Object, seen: Snapshot) -> Iterator[ClusterFinding]:
    for parent in found.get("status", {}).get("parents") or ():
        for told in parent.get("conditions") or ():
            if told.get("type") in ("Accepted", "ResolvedRefs") and told.get("status") == "False":
                words = f"{reference(found)}: {told['type']} is false: {_why(told)}"
                yield _teller(found, seen, told).say(
                    f"Not{told['type']}", words, "its requests have nowhere to go", ROUTE_W
                )


def _node(found: Object, seen: Snapshot) -> Iterator[ClusterFinding]:
    for told in conditions(found):
        if told.get("type") == "Ready" and told.get("status") != "True":
            words = f"{reference(found)} is not ready: {_why(told)}"
            yield _teller(found, seen, told).say("NodeNotReady", words, "what runs on it stands still", NODE_W)
        elif str(told.get("type")).endswith("Pressure") and told.get("status") == "True":
            words = f"{reference(found)} is under {told['type']}: {_why(told)}"
            yield _teller(found, seen, told).say(str(told["type"]), words, "it turns Pods out", NODE_W)
    if found.get("spec", {}).get("unschedulable"):
        taints = found["spec"].get("taints") or ()
        since = next((t.get("timeAdded") for t in taints if "unschedulable" in str(t.get("key"))), None)
        words = f"{reference(found)} is cordoned: it takes no new Pods"
        yield _teller(found, seen, {"lastTransitionTime": since}).say(
            "Cordoned", words, "Pods that were drained wait", NODE_W, next=f"uncordon {name_of(found)}"
        )


def _claim(found: Object, seen: Snapshot) -> Iterator[ClusterFinding]:
    if found.get("status", {}).get("phase") == "Lost":
        yield _teller(found, seen).say(
            "Lost", f"{reference(found)} has lost its volume", "who mounts it waits", FAILED_W
        )


def _webhooks(found: Object, seen: Snapshot) -> Iterator[ClusterFinding]:
    """Webhooks that must be asked, of a namespace that was read, with no Pod to ask."""
    for webhook in found.get("webhooks") or ():
        service = webhook.get("clientConfig", {}).get("service") or {}
        slices = [each for each in seen.of(ENDPOINTS) if _is_of(each, service)]
        if not slices or webhook.get("failurePolicy") == "Ignore" or any(map(_has_ready, slices)):
            continue
        where = f"{service['namespace']}/{service['name']}"
        words = f"the webhooks of {where} do not answer: no Pod of that service is ready"
        since = {"lastTransitionTime": (slices[0]["metadata"].get("annotations") or {}).get(_CHANGED)}
        told = _teller(found, seen, since).say(
            "WebhookDown", words, "what it guards cannot change meanwhile", WEBHOOK_W, about=f"webhook of {where}"
        )
        command = f"{seen.kubectl} -n {service['namespace']} get pods,endpointslices"
        yield told.model_copy(update={"next": f"Run `{command}`."})


def _is_of(endpoints: Object, service: Object) -> bool:
    named = (endpoints["metadata"].get("labels") or {}).get("kubernetes.io/service-name")
    return namespace_of(endpoints) == service.get("namespace") and named == service.get("name")


def _has_ready(endpoints: Object) -> bool:
    return any((each.get("conditions") or {}).get("ready") for each in endpoints.get("endpoints") or ())


LOOKS: dict[str, Look] = {
    "apps/v1/Deployment": _workload,
    "apps/v1/ReplicaSet": _workload,
    "apps/v1/StatefulSet": _workload,
    ISVC: _service,
    JOB: _job,
    HPA: _autoscaler,
    QUOTA: _quota,
    GATEWAY: _gateway,
    ROUTE: _route,
    NODE: _node,
    CLAIM: _claim,
    **dict.fromkeys(WEBHOOKS, _webhooks),
}


def of_states(seen: Snapshot) -> Iterator[ClusterFinding]:
    """What the conditions say."""
    for kind, look in LOOKS.items():
        for found in seen.of(kind):
            yield from look(found, seen)
