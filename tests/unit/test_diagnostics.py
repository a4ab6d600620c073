"""What is collected of a cluster: readable, bounded, without secrets; and the report that leads with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.backends.kubernetes.diagnostics.collect import collect, last_words
from harness.backends.kubernetes.diagnostics.describe import describe
from harness.backends.kubernetes.diagnostics.envoy import without_secrets
from harness.backends.kubernetes.diagnostics.keep import Bounds, Shelf
from harness.backends.kubernetes.diagnostics.masked import masked
from harness.cli import run_command
from harness.clients.kubernetes import Kube
from harness.errors import AccessDenied, RequestFailed
from harness.report.cause import likely, next_step
from harness.report.record import ClusterFinding, EventRecord
from harness.report.render import page
from harness.report.store import write_record
from tests.unit import sample_rollouts
from tests.unit.cluster_story import NAMESPACE, POD_NAME, condition, container, ended, event, named, pod, waiting

SECRET = "correct-horse-battery"  # as a value of a Secret might be


class Server:
    """Answers as an API server does: lists by path, logs by container; what is not there is a 404."""

    def __init__(self, lists: dict[str, list[Any]], logs: dict[str, str] | None = None) -> None:
        self.lists, self.logs = lists, logs or {}
        self.asked: list[str] = []
        self.denied: tuple[str, ...] = ()

    def json(self, method: str, path: str, **options: Any) -> Any:
        self.asked.append(path)
        if path in _KINDS:
            return {"resources": _KINDS[path]}
        if "namespaces" not in path and not path.endswith("/nodes"):
            raise RequestFailed(f"GET {path} answered 404", status=404)
        if path.rpartition("/")[2] in self.denied:
            raise AccessDenied(f"Not allowed: get {options.get('what')}")
        plural = path.rpartition("/")[2]
        space = NAMESPACE in path or plural == "nodes"
        return {"items": self.lists.get(plural, []) if space else [], "metadata": {"resourceVersion": "1"}}

    def text(self, method: str, path: str, **options: Any) -> str:
        self.asked.append(path)
        query = options.get("query") or {}
        key = f"{query.get('container')}{'.previous' if query.get('previous') else ''}"
        if key in self.logs:
            return self.logs[key]
        raise RequestFailed(f"GET {path} answered 404", status=404)


def _kind(kind: str, plural: str, namespaced: bool = True) -> dict[str, Any]:
    return {"kind": kind, "name": plural, "namespaced": namespaced}


_KINDS = {
    "/api/v1": [
        _kind("Pod", "pods"), _kind("Event", "events"), _kind("Node", "nodes", False), _kind("Service", "services"),
        _kind("ResourceQuota", "resourcequotas"), _kind("LimitRange", "limitranges"),
        _kind("PersistentVolumeClaim", "persistentvolumeclaims"), _kind("Secret", "secrets"),
    ],
    "/apis/batch/v1": [_kind("Job", "jobs")],
    "/apis/apps/v1": [_kind("Deployment", "deployments"), _kind("ReplicaSet", "replicasets")],
}  # fmt: skip


def looked_at(folder: Path, server: Server, **bounds: Any) -> Any:
    return collect(Kube(server), folder / "diagnostics", namespaces=[NAMESPACE], bounds=Bounds(**bounds))  # type: ignore[arg-type]


def broken_canary() -> Server:
    """A canary whose process ends at once, with its last words in the log of its last life."""
    crashing = pod(container(restarts=3, state=waiting("CrashLoopBackOff"), lastState=ended(1)))
    told = [event("BackOff", "Back-off restarting failed container", last=80)]
    logs = {
        "kserve-container.previous": f"loading\nAuthorization: Bearer {SECRET}\nKeyError: 'n_features'\n",
        "kserve-container": "loading\n",
    }
    return Server({"pods": [crashing], "events": told}, logs)


def test_the_files_of_a_diagnosis_lie_below_their_namespace_and_the_index_leads_with_the_cause(tmp_path: Path) -> None:
    found = looked_at(tmp_path, broken_canary())

    root = tmp_path / "diagnostics"
    written = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert written == {
        "index.md",
        f"{NAMESPACE}/events.txt",
        f"{NAMESPACE}/pod/{POD_NAME}.txt",
        f"{NAMESPACE}/logs/{POD_NAME}.kserve-container.previous.log",
    }
    told = (root / "index.md").read_text()
    assert "Most likely: kserve-container of pod/" in told
    assert "ended with exit code 1, 3 restarts: KeyError: 'n_features'" in told
    assert f"logs {POD_NAME} -c kserve-container --previous`" in told
    assert found.findings[0].file == f"diagnostics/{NAMESPACE}/pod/{POD_NAME}.txt"
    assert all(f"({path})" in told for path in written - {"index.md"})


def test_no_secret_is_asked_for_and_none_is_written(tmp_path: Path) -> None:
    """Not from logs, not from an environment; which Secret a Pod refers to can still be read."""
    server = broken_canary()
    spec = server.lists["pods"][0]["spec"]["containers"][0]
    spec["env"] = [
        {"name": "DB_PASSWORD", "value": SECRET},
        {"name": "MLFLOW", "valueFrom": {"secretKeyRef": {"name": "mlflow-db", "key": "uri"}}},
    ]
    spec["args"] = ["--token", SECRET, f"--api-key={SECRET}", "--port", "8080"]
    server.lists["pods"][0]["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": SECRET}

    looked_at(tmp_path, server)

    text = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert SECRET not in text
    assert "mlflow-db" in text
    assert "8080" in text
    assert not any("secrets" in path or "configmaps" in path for path in server.asked)


def test_what_may_not_be_read_is_named_in_the_index_and_the_rest_is_there(tmp_path: Path) -> None:
    """With the verb and the resource."""
    server = broken_canary()
    server.denied = ("events",)

    found = looked_at(tmp_path, server)

    assert [f"Not allowed: get events in namespace '{NAMESPACE}'" in each for each in found.missed].count(True) == 1
    assert "## What could not be had" in found.index.read_text()
    assert found.findings[0].reason == "Error"


def test_a_diagnosis_has_bounds_of_time_and_size(tmp_path: Path) -> None:
    """Of each file and in all; a log keeps its end."""
    server = broken_canary()
    server.logs["kserve-container.previous"] = "x" * 5000 + "\nthe end"
    looked_at(tmp_path / "small", server, file_kb=1.0)
    log = next((tmp_path / "small").rglob("*.previous.log")).read_text()
    assert len(log) < 1200
    assert log.endswith("the end")

    found = looked_at(tmp_path / "tiny", server, total_mb=0.001)
    assert any("no room left" in each for each in found.missed)

    late = looked_at(tmp_path / "late", server, seconds=0.0)
    assert any("not within 0 s" in each for each in late.missed)


def test_many_pods_are_cut_to_those_that_matter(tmp_path: Path) -> None:
    """The abnormal ones are kept, and the index says how many are not."""
    many = [pod(container(ready=True, state={"running": {}})) for _ in range(9)]
    for number, each in enumerate(many):
        each["metadata"] = {**each["metadata"], "name": f"well-{number}"}
    server = broken_canary()
    server.lists["pods"] = [*many, *server.lists["pods"]]

    found = looked_at(tmp_path, server, objects=2)

    assert (tmp_path / "diagnostics" / NAMESPACE / "pod" / f"{POD_NAME}.txt").exists()
    assert f"8 of 10 Pods of {NAMESPACE}" in found.missed


def test_one_that_was_killed_is_not_said_to_have_ended_by_the_last_line_of_its_log(tmp_path: Path) -> None:
    server = broken_canary()
    server.lists["pods"] = [pod(container(restarts=1, ready=True, state={"running": {}}, lastState=ended(137)))]

    words = looked_at(tmp_path, server).findings[0].words

    assert words.endswith("was killed by signal 9, 1 restarts")


@pytest.mark.parametrize(
    ("log", "told"),
    [
        ("loading\nKeyError: 'n'\n", "KeyError: 'n'"),
        (
            "initdb: error: could not create: Permission denied\ncreating directory ...",
            "initdb: error: could not create: Permission denied",
        ),
        ("one\ntwo\n\n", "two"),
        ("", ""),
    ],
)
def test_the_last_words_of_a_log_are_those_of_its_failure(log: str, told: str) -> None:
    assert last_words(log) == told


def test_a_name_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path / "d", Bounds())

    assert shelf.put(("..", "../../x"), "text", "log") == "_/_.._x"
    assert not (tmp_path / "x").exists()


def test_a_description_has_states_conditions_and_events_in_words() -> None:
    """As kubectl describe has them, the whole object below."""
    what = pod(
        container(
            restarts=1, state={"running": {"startedAt": "2026-11-24T00:00:09Z"}}, lastState=ended(137, "OOMKilled")
        ),
        conditions=[condition("Ready", "False", "ContainersNotReady", "unready")],
        spec={"containers": [{"name": "kserve-container", "resources": {"limits": {"memory": "128Mi"}}}]},
    )

    text = describe(what, [event("Unhealthy", "Readiness probe failed", last=30)])

    assert f"Pod  {NAMESPACE}/{POD_NAME}" in text
    assert "running, since 00:00:09Z" in text
    assert "last terminated OOMKilled, exit code 137, 00:00:05Z to 00:00:08Z" in text
    assert "limits: memory 128Mi" in text
    assert "Ready=False since 00:00:05Z ContainersNotReady unready" in text
    assert "Unhealthy  Pod/" in text
    assert "(1 times" not in text
    assert "phase: Running" in text


def test_routes_and_canaries_are_described_by_what_their_status_says() -> None:
    route = named("HTTPRoute", "iris", status={"parents": [{"parentRef": {"name": "rehearsal"}, "conditions": [
        condition("Accepted", "False", "NoMatchingListenerHostname")]}]})  # fmt: skip
    isvc = named("InferenceService", "iris", status={"canaryStatuses": [{"name": "v2", "ready": False, "reason": "X"}]})

    assert "at Gateway rehearsal: Accepted=False since 00:00:05Z NoMatchingListenerHostname" in describe(route)
    assert "canary v2: not ready X" in describe(isvc)


def test_a_secret_that_comes_by_is_masked_and_envoys_keys_are_left_out() -> None:
    """Neither is ever asked for on purpose."""
    secret = {"kind": "Secret", "metadata": {"name": "s"}, "data": {"a": SECRET}, "stringData": {"b": SECRET}}
    keys = {"@type": "type.googleapis.com/envoy.admin.v3.SecretsConfigDump", "dynamic_active_secrets": [SECRET]}
    routes = {"@type": "type.googleapis.com/envoy.admin.v3.RoutesConfigDump", "dynamic_route_configs": [{"a": 1}]}

    assert masked(secret)["data"] == {"a": "***"}
    assert SECRET not in json.dumps(masked(secret))
    assert without_secrets({"configs": [keys, routes]}) == {"configs": [routes]}


def finding(**changes: Any) -> ClusterFinding:
    told = {
        "at": sample_rollouts.BEGAN - 4,
        "namespace": NAMESPACE,
        "object": "pod/v2",
        "reason": "FailedScheduling",
        "words": "no node takes pod/v2: 1 Insufficient cpu",
        "because": "it waits for a node with room",
        "next": "Run `kubectl describe nodes`.",
        "weight": 0.86,
        "about": "pod/v2",
        "lasting": True,
        "file": f"diagnostics/{NAMESPACE}/pod/v2.txt",
    }
    return ClusterFinding(**{**told, **changes})


def test_the_report_leads_with_the_first_abnormal_event_of_the_cluster() -> None:
    """With when it was, the next command, and where its description lies; the page has all of them in order."""
    record = sample_rollouts.rolled_back_run([])
    later = finding(at=record.started_at + 9, reason="NotReady", words="isvc/x is not ready", weight=0.35, about="x")
    record.cluster = [finding(), later]
    record.artifacts["diagnostics"] = "diagnostics/index.md"

    assert likely(record).startswith("no node takes pod/v2: 1 Insufficient cpu (")
    assert "before the first bad answer of v2; it waits for a node with room" in likely(record)
    assert next_step(record).startswith("Run `kubectl describe nodes`. Its description: `diagnostics/")
    text = page(record)
    assert "Most likely: no node takes pod/v2" in text
    assert 'href="diagnostics/index.md"' in text
    assert text.index("FailedScheduling, lasts") < text.index("NotReady, lasts")


def test_what_began_after_the_first_symptom_is_no_cause_of_it() -> None:
    record = sample_rollouts.rolled_back_run([])
    record.cluster = [finding(at=sample_rollouts.BEGAN + 60)]

    assert likely(record).startswith("v2 itself")


def test_an_injected_fault_outranks_what_it_does_to_the_cluster() -> None:
    record = sample_rollouts.rolled_back_run([])
    record.cluster = [finding(weight=0.93)]
    record.events = [
        EventRecord(
            at=sample_rollouts.BEGAN, kind="fault.injected", subject="quota", message="quota used up", level="warning"
        )
    ]

    assert likely(record).startswith("an injected fault: quota")


def test_diagnose_tells_the_cause_of_a_run_from_its_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without its cluster, which is gone; as JSON for scripts too."""
    record = sample_rollouts.rolled_back_run([])
    record.cluster = [finding()]
    write_record(record, tmp_path / "20261124-x")

    assert run_command(["diagnose", "20261124", "--reports", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("FAILED: ")
    assert lines[1].startswith("likely   no node takes pod/v2: 1 Insufficient cpu (")
    assert lines[2].startswith("next     Run `kubectl describe nodes`.")

    assert run_command(["diagnose", "20261124", "--reports", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["cluster"][0]["reason"] == "FailedScheduling"
    assert told["next"].startswith("Run `kubectl describe nodes`.")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["-n", "x"], "--namespace and --kubeconfig need --context"),
        (["--context", "c"], "--context needs --namespace"),
        (["some-run", "--context", "c", "-n", "x"], "a run or --context, not both"),
        (["no-such-run"], "no such run"),
    ],
)
def test_a_slip_is_one_line(
    arguments: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["diagnose", *arguments, "--reports", str(tmp_path)]) == 2
    assert told in capsys.readouterr().err
