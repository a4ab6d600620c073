"""What the client asks an API server, and what it makes of the answers; only the HTTP transport is faked."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import urllib3
from kubernetes.client import ApiClient, Configuration

from harness.clients._kubernetes_http import ApiServer
from harness.clients.kubernetes import Kube, rolled_out
from harness.errors import AccessDenied, ConfigError, PlatformError, RequestFailed, UsageError, WaitTimeout
from harness.runtime.clock import Deadline

CORE = {"resources": [{"name": "pods", "kind": "Pod", "namespaced": True}, {"name": "pods/log", "kind": "Pod"}]}
SERVING = {"resources": [{"name": "inferenceservices", "kind": "InferenceService", "namespaced": True}]}
ISVC = "serving.kserve.io/v1beta1/InferenceService"

Answer = tuple[int, Any]


@dataclass
class Sent:
    """One request as the transport got it."""

    method: str
    path: str
    body: Any
    headers: dict[str, str]
    timeout: Any


@dataclass
class Transport:
    """Stands in for urllib3's pool of connections."""

    answers: Callable[[Sent], Answer]
    sent: list[Sent] = field(default_factory=list)

    def request(self, method: str, url: str, **options: Any) -> urllib3.HTTPResponse:
        query = "?" + urlencode(options["fields"]) if options.get("fields") else ""
        body = json.loads(options["body"]) if options.get("body") else None
        sent = Sent(method, url.removeprefix("https://cluster") + query, body, options["headers"], options["timeout"])
        self.sent.append(sent)
        status, answer = self._discovery(sent.path) or self.answers(sent)
        text = answer if isinstance(answer, str) else json.dumps(answer)
        return urllib3.HTTPResponse(io.BytesIO(text.encode()), status=status, preload_content=False)

    def _discovery(self, path: str) -> Answer | None:
        known = {"/api/v1": CORE, "/apis/serving.kserve.io/v1beta1": SERVING}
        return (200, known[path]) if path in known else None

    def clear(self) -> None:
        pass


def cluster(answers: Callable[[Sent], Answer]) -> tuple[Kube, Transport]:
    """A client whose transport gives these answers."""
    configuration = Configuration(host="https://cluster")
    configuration.proxy = None
    api = ApiClient(configuration=configuration)
    transport = api.rest_client.pool_manager = Transport(answers)
    return Kube(ApiServer(api)), transport


def refused(_: Sent) -> Answer:
    raise urllib3.exceptions.NewConnectionError(None, "refused")  # type: ignore[arg-type]


def service(ready: bool) -> dict[str, Any]:
    return {"metadata": {"name": "model", "resourceVersion": "7"}, "status": {"ready": ready}}


def test_apply_is_server_side_and_takes_over_the_fields() -> None:
    """A document is applied as field manager "rehearsal", with force, at its kind's path."""
    kube, transport = cluster(lambda sent: (200, sent.body))
    document = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "model", "namespace": "production-1"},
    }
    assert kube.apply(document) == document
    sent = transport.sent[-1]
    path = "/apis/serving.kserve.io/v1beta1/namespaces/production-1/inferenceservices/model"
    assert (sent.method, sent.path) == ("PATCH", path + "?fieldManager=rehearsal&force=true")
    assert sent.headers["Content-Type"] == "application/apply-patch+yaml"


def test_every_call_has_a_timeout() -> None:
    """No call can hang: connecting and silence are both bounded."""
    kube, transport = cluster(lambda sent: (200, {"items": [], "metadata": {"resourceVersion": "1"}}))
    kube.list("v1/Pod", "x")
    assert all(sent.timeout.connect_timeout and sent.timeout.read_timeout for sent in transport.sent)


def test_a_refusal_names_the_verb_and_the_resource_in_one_line() -> None:
    """What credentials may not do is bad input (exit code 2) that says which right is missing."""
    message = 'pods is forbidden: User "nobody" cannot list resource "pods"'
    kube, _ = cluster(lambda sent: (403, {"message": message}))
    with pytest.raises(AccessDenied, match="Not allowed: get pods in namespace 'x'") as caught:
        kube.list("v1/Pod", "x")
    assert isinstance(caught.value, UsageError)
    assert "\n" not in str(caught.value)


def test_a_server_that_has_just_been_killed_refuses_nobody_for_good() -> None:
    """Until it has read its roles it answers 403 to all: that is "not yet", and a refusal only once it is ready."""
    answers: list[Answer] = [(403, {"message": "pods is forbidden"}), (500, "[-]rbac/bootstrap-roles failed")]
    answers += [(403, {"message": "pods is forbidden"}), (200, "ok")]
    away = [True]

    def answer(sent: Sent) -> Answer:
        if away.pop() if away else False:
            raise urllib3.exceptions.ProtocolError("connection broken")
        return answers.pop(0)

    kube, _ = cluster(answer)
    for status in (None, 503):
        with pytest.raises(RequestFailed) as caught:
            kube.list("v1/Pod", "x")
        assert caught.value.status == status
    with pytest.raises(AccessDenied):
        kube.list("v1/Pod", "x")


def test_what_is_not_there_is_none_and_its_deletion_is_no_error() -> None:
    """`find` and `delete` tell absence by their results, `get` by an error with status 404."""
    kube, _ = cluster(lambda sent: (404, {"message": "not found"}))
    assert kube.find("v1/Pod", "gone", "x") is None
    assert kube.delete("v1/Pod", "gone", "x") is False
    with pytest.raises(RequestFailed, match="pods 'gone' in namespace 'x' answered 404: not found"):
        kube.get("v1/Pod", "gone", "x")


def test_a_kind_that_the_server_does_not_serve_is_absent_and_names_itself() -> None:
    """A missing custom resource definition reads as "no such object", and an error names the kind."""
    kube, _ = cluster(lambda sent: (404, "404 page not found"))
    assert kube.find("unknown.example.com/v1/Thing", "a", "x") is None
    with pytest.raises(RequestFailed, match=r"unknown\.example\.com/v1"):
        kube.get("unknown.example.com/v1/Thing", "a", "x")


def test_a_server_that_does_not_answer_is_told_from_one_that_refuses() -> None:
    """No connection is RequestFailed without a status."""
    kube, _ = cluster(refused)
    with pytest.raises(RequestFailed) as caught:
        kube.version()
    assert caught.value.status is None


def test_a_watch_ends_the_wait_with_the_change_that_it_waits_for() -> None:
    """The object that satisfies the wait is the one that the watch brought, and nothing polls."""
    changes = [{"type": "MODIFIED", "object": service(False)}, {"type": "MODIFIED", "object": service(True)}]

    def answers(sent: Sent) -> Answer:
        if "watch=true" in sent.path:
            return 200, "\n".join(json.dumps(change) for change in changes)
        return 200, {"items": [service(False)], "metadata": {"resourceVersion": "5"}}

    kube, transport = cluster(answers)
    ready = lambda found: found["status"]["ready"]  # noqa: E731
    found = kube.wait_for(ISVC, "model", "x", ready, what="model", deadline=Deadline.after(5))
    assert found["status"]["ready"] is True
    watches = [sent.path for sent in transport.sent if "watch=true" in sent.path]
    assert len(watches) == 1
    assert "resourceVersion=5" in watches[0]


def test_a_wait_ends_early_with_the_reason_why_it_cannot_succeed() -> None:
    """`fail` turns a hopeless state into an error at once."""
    kube, _ = cluster(lambda sent: (200, {"items": [service(False)], "metadata": {"resourceVersion": "5"}}))
    with pytest.raises(PlatformError, match="model: no image"):
        kube.wait_for(
            ISVC, "model", "x", lambda _: False, what="model", deadline=Deadline.after(60), fail=lambda _: "no image"
        )


def test_a_wait_goes_on_while_the_server_restarts() -> None:
    """A refused connection is "not yet" until the deadline, which shows the last state seen."""
    kube, transport = cluster(lambda sent: (503, {"message": "starting"}))
    with pytest.raises(WaitTimeout, match="no v1/Pod a"):
        kube.wait_for("v1/Pod", "a", "x", lambda _: True, what="a", deadline=Deadline.after(0.5))
    assert len(transport.sent) > 2


def test_apply_with_a_deadline_outlasts_a_webhook_that_is_not_up() -> None:
    """The first seconds after a controller's start refuse webhook calls; that one error is tried again."""
    answers = iter([(500, {"message": 'failed calling webhook "x": connection refused'}), (200, {"kind": "Pod"})])
    kube, _ = cluster(lambda sent: next(answers))
    document = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "x"}}
    assert kube.apply(document, deadline=Deadline.after(10)) == {"kind": "Pod"}


def test_a_document_that_is_wrong_is_not_tried_again() -> None:
    """A refusal for good reasons ends at once."""
    kube, transport = cluster(lambda sent: (422, {"message": "spec.x is invalid"}))
    document = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "x"}}
    with pytest.raises(RequestFailed, match=r"spec\.x is invalid"):
        kube.apply(document, deadline=Deadline.after(60))
    assert len([sent for sent in transport.sent if sent.method == "PATCH"]) == 1


def test_pods_and_services_are_reached_through_the_api_server() -> None:
    """A proxied GET goes to the port that is named."""
    kube, transport = cluster(lambda sent: (200, "stats"))
    assert kube.pod_get("envoy-1", "gw", 19001, "/stats/prometheus?usedonly") == "stats"
    assert kube.service_get("collector", "sys", 8080, "answers") == "stats"
    assert [sent.path for sent in transport.sent] == [
        "/api/v1/namespaces/gw/pods/envoy-1:19001/proxy/stats/prometheus?usedonly",
        "/api/v1/namespaces/sys/services/collector:8080/proxy/answers",
    ]


def test_a_followed_log_gives_whole_lines() -> None:
    """Lines come without their ends, the last one too."""
    kube, transport = cluster(lambda sent: (200, "t1 one\nt2 two\nt3 three"))
    with kube.follow("pod", "x", since="2026-11-24T00:00:00Z") as lines:
        assert list(lines) == ["t1 one", "t2 two", "t3 three"]
    assert "sinceTime=2026-11-24T00%3A00%3A00Z" in transport.sent[-1].path


def test_permission_is_asked_of_the_server() -> None:
    """`allowed` is a review of one's own access, subresources apart."""
    kube, transport = cluster(lambda sent: (201, {"status": {"allowed": False}}))
    assert kube.allowed("get", "pods/log", "x") is False
    attributes = transport.sent[-1].body["spec"]["resourceAttributes"]
    assert attributes == {"verb": "get", "resource": "pods", "subresource": "log", "namespace": "x"}


def test_deleting_by_labels_needs_labels() -> None:
    """An empty selector would name everything."""
    kube, transport = cluster(lambda sent: (200, {}))
    with pytest.raises(PlatformError, match="label selector"):
        kube.delete_all("v1/Pod", "x", labels="")
    assert transport.sent == []


def test_a_wrong_context_names_those_that_there_are(tmp_path: Path) -> None:
    """The user is told what to choose from."""
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: kind-a\n"
        "clusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}]\nusers: [{name: a, user: {}}]\n"
        "contexts: [{name: kind-a, context: {cluster: a, user: a}}]\n"
    )
    with pytest.raises(ConfigError, match="its contexts are kind-a"):
        Kube.connect(kubeconfig, "kind-b")
    with pytest.raises(ConfigError, match="nowhere"):
        Kube.connect(tmp_path / "nowhere", None)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"observedGeneration": 2, "updatedReplicas": 1, "readyReplicas": 1, "replicas": 1}, True),
        ({"observedGeneration": 1, "updatedReplicas": 1, "readyReplicas": 1, "replicas": 1}, False),
        ({"observedGeneration": 2, "updatedReplicas": 1, "readyReplicas": 1, "replicas": 2}, False),
        ({}, False),
    ],
)
def test_a_deployment_is_rolled_out_when_only_its_last_template_runs(status: dict[str, int], expected: bool) -> None:
    """Replicas of the former template, and a controller that has not looked yet, both mean no."""
    found = {"kind": "Deployment", "metadata": {"generation": 2}, "spec": {"replicas": 1}, "status": status}
    assert rolled_out(found) is expected
