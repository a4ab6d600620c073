"""The first abnormal thing of a cluster: a cause before what follows from it, in a sentence, with the next command."""

from __future__ import annotations

from typing import Any

import pytest

from harness.backends.kubernetes.diagnostics.abnormal import abnormal, ranked
from harness.backends.kubernetes.diagnostics.snapshot import (
    ENDPOINTS,
    GATEWAY,
    HPA,
    ISVC,
    JOB,
    NODE,
    QUOTA,
    ROUTE,
    WEBHOOKS,
    Snapshot,
)
from tests.unit.cluster_story import (
    BEGAN,
    NAMESPACE,
    POD_NAME,
    at,
    condition,
    container,
    ended,
    event,
    named,
    pod,
    seen,
    waiting,
)

QUOTA_TOLD = (
    'Error creating: pods "v2-x" is forbidden: exceeded quota: compute, requested: requests.cpu=2, '
    "used: requests.cpu=3, limited: requests.cpu=4"
)
SECURITY_TOLD = (
    'Error creating: pods "v2-x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true'
)
WEBHOOK_TOLD = (
    'Internal error occurred: failed calling webhook "inferenceservice.kserve-webhook-server.defaulter": failed to '
    'call webhook: Post "https://kserve-webhook-server-service.kserve.svc:443/mutate?timeout=10s": dial tcp '
    "10.96.7.7:443: connect: connection refused"
)
AGENT = "docker.io/kserve/agent:v0.20.0"
OURS_TOLD = f'Failed to pull image "{AGENT}": not found'
PULL_TOLD = 'Failed to pull image "rehearsal/model-server:9": not found'
NO_CPU = "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available"
NO_GPU = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
CORDONED = "0/1 nodes are available: 1 node(s) were unschedulable."


def first(snapshot: Snapshot) -> Any:
    return ranked(abnormal(snapshot))[0]


@pytest.mark.parametrize(
    ("told", "reason", "words", "command"),
    [
        (event("FailedScheduling", NO_CPU), "FailedScheduling", "1 Insufficient cpu", "kubectl -n "),
        (event("FailedScheduling", NO_GPU), "FailedScheduling", "Insufficient nvidia.com/gpu", "describe nodes"),
        (event("Failed", PULL_TOLD), "ErrImagePull", "rehearsal/model-server:9", "rehearse images list"),
        (event("Failed", OURS_TOLD), "ErrImagePull", AGENT, f"rehearse images build {AGENT}"),
        (
            event("Failed", 'Error: secret "mlflow-db" not found'),
            "Failed",
            'secret "mlflow-db" not found',
            f"describe pod/{POD_NAME}",
        ),
        (
            event("FailedCreate", QUOTA_TOLD, kind="ReplicaSet", name="v2"),
            "FailedCreate",
            f"the quota compute of {NAMESPACE} is used up: replicaset/v2 asks for requests.cpu=2, requests.cpu=3 are "
            "used, requests.cpu=4 is the limit",
            "describe quota compute",
        ),
        (
            event("FailedCreate", SECURITY_TOLD, kind="ReplicaSet", name="v2"),
            "FailedCreate",
            "violates PodSecurity",
            "describe replicaset/v2",
        ),
        (
            event("InternalError", WEBHOOK_TOLD, kind="InferenceService", name="high-utiliser"),
            "WebhookDown",
            "the webhook inferenceservice.kserve-webhook-server.defaulter does not answer: connection refused",
            "kubectl -n kserve get pods,endpointslices",
        ),
        (
            event("FailedCreate", 'admission webhook "a.b" denied the request: no root', kind="ReplicaSet", name="v2"),
            "FailedCreate",
            "the webhook a.b refused replicaset/v2: no root",
            "describe replicaset/v2",
        ),
        (
            event("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503"),
            "Unhealthy",
            "statuscode: 503",
            f"describe pod/{POD_NAME}",
        ),
        (
            event("Evicted", "The node was low on resource: memory."),
            "Evicted",
            "turned out of its node: The node was low on resource: memory",
            "describe",
        ),
        (
            event("NodeNotReady", "Node kind-worker is not ready", kind="Node", name="kind-worker", namespace=""),
            "NodeNotReady",
            "node/kind-worker",
            "`kubectl describe node/kind-worker`",
        ),
        (event("Killing", "Stopping container x", sort="Normal"), "Killing", "somebody deleted it", "get events"),
        (event("FailedMount", "timed out"), "FailedMount", "cannot be mounted: timed out", "describe"),
    ],
)
def test_an_event_is_told_in_a_sentence_with_the_next_command(
    told: dict[str, Any], reason: str, words: str, command: str
) -> None:
    """With the time at which it was first seen."""
    found = first(seen(events=[told]))

    assert found.reason == reason
    assert words in found.words
    assert command in found.next
    assert found.at == BEGAN + 5


def test_a_volume_that_was_late_is_no_news_once_its_container_has_started() -> None:
    """The kubelet complains of what it mounts a second later; a container of another Pod says nothing of it."""
    late = event("FailedMount", "not registered")
    assert abnormal(seen(events=[late, event("Started", "Container started", sort="Normal")])) == []
    other = event("Started", "Container started", name="another", sort="Normal")
    assert [found.reason for found in abnormal(seen(events=[late, other]))] == ["FailedMount"]


@pytest.mark.parametrize(
    ("what", "reason", "words", "command"),
    [
        (
            pod(container(state=waiting("ImagePullBackOff", "Back-off pulling image"))),
            "ImagePullBackOff",
            "the image rehearsal/model-server:1.0",
            "images list",
        ),
        (
            pod(container(state=waiting("CreateContainerConfigError", 'secret "x" not found'))),
            "CreateContainerConfigError",
            'secret "x" not found',
            "describe",
        ),
        (
            pod(
                container(restarts=4, state=waiting("CrashLoopBackOff", "back-off 40s"), lastState=ended(1)),
            ),
            "Error",
            "kserve-container of pod/high-utiliser-v2-predictor-6f7d9-x8k2p ended with exit code 1, 4 restarts",
            f"logs {POD_NAME} -c kserve-container --previous",
        ),
        (
            pod(
                container(restarts=1, state=waiting("CrashLoopBackOff"), lastState=ended(137, "OOMKilled")),
                spec={"containers": [{"name": "kserve-container", "resources": {"limits": {"memory": "128Mi"}}}]},
            ),
            "OOMKilled",
            "it used more memory than its limit of 128Mi",
            "describe",
        ),
        (
            pod(container(restarts=1, ready=True, state={"running": {}}, lastState=ended(137))),
            "Error",
            "was killed by signal 9",
            "--previous",
        ),
        (
            pod(
                phase="Pending", initContainerStatuses=[container("storage-initializer", state=ended(1, message="404"))]
            ),
            "Error",
            "cannot be downloaded: storage-initializer ended with exit code 1: 404",
            "logs",
        ),
        (pod(phase="Failed", reason="Evicted", message="low on memory"), "Evicted", "low on memory", "describe"),
        (
            pod(phase="Pending", conditions=[condition("PodScheduled", "False", "Unschedulable", NO_CPU)]),
            "FailedScheduling",
            "1 Insufficient cpu",
            "describe nodes",
        ),
        (
            pod(conditions=[condition("DisruptionTarget", "True", "EvictionByEvictionAPI", "Eviction API: evicting")]),
            "EvictionByEvictionAPI",
            "Eviction API: evicting",
            "describe",
        ),
        (
            pod(conditions=[condition("Ready", "False", "ContainersNotReady", "containers with unready status: [x]")]),
            "NotReady",
            "runs and is not ready: containers with unready status",
            "describe",
        ),
    ],
)
def test_a_pods_own_status_is_told_without_any_event(
    what: dict[str, Any], reason: str, words: str, command: str
) -> None:
    """Events are gone after an hour, or may not be read."""
    found = first(seen(pods=[what]))

    assert (found.reason, found.namespace) == (reason, NAMESPACE)
    assert words in found.words
    assert command in found.next


@pytest.mark.parametrize(
    ("kind", "what", "words"),
    [
        (
            ISVC,
            named(
                "InferenceService", "iris", status={"modelStatus": {"lastFailureInfo": {"reason": "ModelLoadFailed"}}}
            ),
            "inferenceservice/iris cannot load its model: ModelLoadFailed",
        ),
        (
            ISVC,
            named(
                "InferenceService",
                "iris",
                status={"canaryStatuses": [{"name": "v2", "ready": False, "reason": "Progressing", "message": "0/1"}]},
            ),
            "the canary v2 of inferenceservice/iris is not ready: Progressing: 0/1",
        ),
        (
            ISVC,
            named(
                "InferenceService",
                "iris",
                status={
                    "conditions": [
                        condition("Ready", "False"),
                        condition("PredictorReady", "False", "MinimumReplicasUnavailable"),
                        condition("IngressReady", "False", "x"),
                    ]
                },
            ),
            "inferenceservice/iris is not ready: PredictorReady MinimumReplicasUnavailable; IngressReady x",
        ),
        (
            "apps/v1/Deployment",
            named("Deployment", "v2", status={"conditions": [condition("ReplicaFailure", "True", "x", QUOTA_TOLD)]}),
            "the quota compute",
        ),
        (
            JOB,
            named("Job", "step", status={"conditions": [condition("Failed", "True", "BackoffLimitExceeded", "twice")]}),
            "job/step failed: BackoffLimitExceeded: twice",
        ),
        (
            HPA,
            named(
                "HorizontalPodAutoscaler",
                "v1",
                status={"conditions": [condition("ScalingActive", "False", "FailedGetResourceMetric", "no figures")]},
            ),
            "cannot scale: FailedGetResourceMetric: no figures",
        ),
        (
            QUOTA,
            named(
                "ResourceQuota",
                "compute",
                status={"hard": {"pods": "4", "cpu": "4"}, "used": {"pods": "4", "cpu": "1"}},
            ),
            "is used up: pods 4",
        ),
        (
            NODE,
            named("Node", "n", "", status={"conditions": [condition("MemoryPressure", "True", "Low", "little left")]}),
            "node/n is under MemoryPressure: Low: little left",
        ),
        (NODE, named("Node", "n", "", spec={"unschedulable": True}), "node/n is cordoned"),
        (
            NODE,
            named("Node", "n", "", status={"conditions": [condition("Ready", "Unknown", "NodeStatusUnknown")]}),
            "node/n is not ready: NodeStatusUnknown",
        ),
        (
            GATEWAY,
            named("Gateway", "rehearsal", status={"conditions": [condition("Programmed", "False", "NoResources")]}),
            "gateway/rehearsal is not programmed: NoResources",
        ),
        (
            ROUTE,
            named(
                "HTTPRoute",
                "iris",
                status={"parents": [{"conditions": [condition("ResolvedRefs", "False", "BackendNotFound", "v2")]}]},
            ),
            "httproute/iris: ResolvedRefs is false: BackendNotFound: v2",
        ),
    ],
)
def test_a_condition_that_says_no_is_told(kind: str, what: dict[str, Any], words: str) -> None:
    assert words in first(seen(**{kind: [what]})).words


def test_a_healthy_cluster_has_nothing_abnormal() -> None:
    """Also with what looks odd and is not: a probe of old, a canary that is optional, a Pod that is asked to end."""
    well = pod(container(ready=True, state={"running": {}}), conditions=[condition("Ready", "True")])
    ending = pod(container(state=ended(143)))
    ending["metadata"]["deletionTimestamp"] = "2026-11-24T00:00:00Z"
    node = named(
        "Node", "n", "", status={"conditions": [condition("Ready", "True"), condition("DiskPressure", "False")]}
    )
    isvc = named("InferenceService", "i", status={"conditions": [condition("Ready", "True")]})
    told = [event("Scheduled", "assigned", sort="Normal"), event("Pulled", 'image "x" present', sort="Normal")]

    assert abnormal(seen(pods=[well, ending], events=told, **{NODE: [node], ISVC: [isvc]})) == []


def test_a_cause_comes_before_what_follows_from_it() -> None:
    """A canary whose image is missing: four objects tell of it, and the image is what matters."""
    isvc = named(
        "InferenceService",
        "iris",
        status={
            "conditions": [condition("Ready", "False")],
            "canaryStatuses": [{"name": "v2", "ready": False, "reason": "Progressing"}],
        },
    )
    told = [
        event("Failed", PULL_TOLD, seen=3, last=80),
        event("Failed", "Error: ErrImagePull", seen=3, last=80),
        event("BackOff", 'Back-off pulling image "rehearsal/model-server:9"', seen=4, last=85),
    ]

    found = ranked(abnormal(seen(events=told, **{ISVC: [isvc]})))

    assert [each.reason for each in found] == ["ErrImagePull", "CanaryNotReady", "NotReady"]
    assert found[0].at == BEGAN + 3
    assert found[0].lasting


def test_one_thing_that_several_tell_is_one_finding() -> None:
    """The quota's refusal is told by an event, by the ReplicaSet, the Deployment, and the quota itself."""
    failing = {"conditions": [condition("ReplicaFailure", "True", "FailedCreate", QUOTA_TOLD, since=6)]}
    quota = named("ResourceQuota", "compute", status={"hard": {"requests.cpu": "4"}, "used": {"requests.cpu": "4"}})

    found = abnormal(
        seen(
            events=[event("FailedCreate", QUOTA_TOLD, kind="ReplicaSet", name="v2")],
            **{
                "apps/v1/ReplicaSet": [named("ReplicaSet", "v2", status=failing)],
                "apps/v1/Deployment": [named("Deployment", "v2", status=failing)],
                QUOTA: [quota],
            },
        )
    )

    assert len(found) == 1
    assert "asks for requests.cpu=2" in found[0].words


def test_a_drained_node_outranks_the_pods_that_wait_for_another() -> None:
    node = named("Node", "n", "", spec={"unschedulable": True, "taints": []})
    waits = pod(phase="Pending", conditions=[condition("PodScheduled", "False", "Unschedulable", CORDONED)])

    assert [each.reason for each in ranked(abnormal(seen(pods=[waits], **{NODE: [node]})))] == [
        "Cordoned",
        "FailedScheduling",
    ]


def test_what_still_is_outranks_what_is_over() -> None:
    """A Pod that had to wait for its volume, and now ends again and again."""
    crashing = pod(container(restarts=5, state=waiting("CrashLoopBackOff"), lastState=ended(1)))
    waited = event("FailedScheduling", "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.")

    assert [each.reason for each in ranked(abnormal(seen(pods=[crashing], events=[waited])))] == [
        "Error",
        "FailedScheduling",
    ]


def test_what_was_before_the_run_is_none_of_it() -> None:
    """The shared namespaces keep what earlier runs did to them."""
    old = [
        event("Failed", PULL_TOLD, seen=-300, last=-200),
        event("NodeNotReady", "x", kind="Node", name="n", seen=-900),
    ]
    crashed = pod(container(restarts=1, ready=True, lastState=ended(137, when=-100)))
    here = Snapshot(at=BEGAN + 90, objects=seen(pods=[crashed], events=old).objects, since=BEGAN)

    assert abnormal(here) == []


def test_findings_are_in_order_of_time_and_of_one_line_without_secrets() -> None:
    told = [
        event("Failed", "Error: cannot log in with password=hunter22\nsecond line", seen=9),
        event("FailedScheduling", NO_CPU, seen=2),
    ]

    found = abnormal(seen(events=told))

    assert [each.at - BEGAN for each in found] == [2, 9]
    assert "hunter22" not in found[1].words
    assert "\n" not in found[1].words


def test_the_command_names_the_context() -> None:
    here = Snapshot(BEGAN, seen(events=[event("FailedMount", "x")]).objects, kubectl="kubectl --context kind-mine")

    assert f"`kubectl --context kind-mine -n {NAMESPACE} describe" in abnormal(here)[0].next


@pytest.mark.parametrize(("ready", "policy", "told"), [(False, "Fail", 1), (True, "Fail", 0), (False, "Ignore", 0)])
def test_a_webhook_that_must_be_asked_and_has_no_pod_is_told_once(ready: bool, policy: str, told: int) -> None:
    """Whatever it guards is refused, and no event may say so; since when, its endpoints say."""
    service = {"namespace": "kserve", "name": "hook"}
    hooks = [
        {"name": f"{name}.kserve", "failurePolicy": policy, "clientConfig": {"service": service}} for name in ("a", "b")
    ]
    endpoints = named("EndpointSlice", "hook-1", "kserve", endpoints=[{"conditions": {"ready": ready}}])
    endpoints["metadata"] |= {
        "labels": {"kubernetes.io/service-name": "hook"},
        "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": at(7)},
    }
    kinds = {
        WEBHOOKS[0]: [named("ValidatingWebhookConfiguration", "guard", "", webhooks=hooks)],
        ENDPOINTS: [endpoints],
    }
    found = abnormal(Snapshot(BEGAN + 60, kinds))
    assert [(each.reason, each.at - BEGAN, each.lasting) for each in found] == [("WebhookDown", 7.0, True)] * told
    assert all("the webhooks of kserve/hook do not answer" in each.words for each in found)
    assert all("kubectl -n kserve get pods" in each.next for each in found)
