"""The documents of a distributed load: restricted Pods, a schedule each, labels of the run, nothing left behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.clients.kubernetes import Kube
from harness.errors import ConfigError, UsageError
from harness.load import pod
from harness.load._pod_documents import PART, Place, documents
from harness.load.pods import Pods
from harness.load.records import LoadFiles
from harness.load.shapes import Ramp, Steady
from harness.load.spec import LoadSpec
from harness.load.trace import Replay
from harness.runtime.clock import Deadline

LABELS = {"app.kubernetes.io/managed-by": "rehearsal", "rehearsal.dev/run": "r1"}
PLACE = Place(cast(Kube, None), "load-1", LABELS, "rehearsal/load:1.0", "http://gateway.proxies.svc", {"http://g"})


@pytest.fixture
def spec(tmp_path: Path) -> LoadSpec:
    payload = tmp_path / "payload.jsonl"
    payload.write_text('{"instances": [[1]]}\n', encoding="utf-8")
    return LoadSpec("big", "http://x", "m.example.com", "/v1", payload, Steady(4000), max_s=60, workers=4, users=9)


def made(spec: LoadSpec) -> dict[str, Any]:
    return {
        f"{each['kind']}/{each['metadata']['name']}": each
        for each in documents(spec, PLACE, "abcd1234", pod.digest("a-token"))
    }


def test_a_load_is_a_master_that_owns_its_plan_its_service_and_its_workers(spec: LoadSpec) -> None:
    found = made(spec)
    assert list(found) == [
        "Job/load-abcd1234-master",
        "ConfigMap/load-abcd1234-master",
        "Service/load-abcd1234-master",
        "Job/load-abcd1234-worker",
    ]
    worker, master = found["Job/load-abcd1234-worker"], found["Job/load-abcd1234-master"]
    assert (master["spec"]["completions"], worker["spec"]["completions"], worker["spec"]["parallelism"]) == (1, 4, 4)
    assert worker["spec"]["activeDeadlineSeconds"] == 240
    for each in found.values():
        assert each["metadata"]["namespace"] == "load-1"
        assert each["metadata"]["labels"].items() >= LABELS.items()
    labels = worker["spec"]["template"]["metadata"]["labels"]
    assert labels == {**LABELS, PART: "worker", "app.kubernetes.io/component": "load"}


def test_the_master_alone_is_told_what_to_send_and_to_whom(spec: LoadSpec) -> None:
    """Locust passes the options on; the file is the one of loadtests/."""
    found = made(spec)
    arguments = [" ".join(found[f"Job/load-abcd1234-{part}"]["spec"]["template"]["spec"]["containers"][0]["args"])
                 for part in ("master", "worker")]  # fmt: skip
    assert (
        "--rps 4000 --hold-s 0.0 --arrivals constant --seed 0 --user-ids 9 --path /v1 --service-host m.example.com"
        in arguments[0]
    )
    assert "--host http://gateway.proxies.svc --expect-workers 4 --users 4 --spawn-rate 4" in arguments[0]
    assert arguments[1] == "-f /load/steady.py --records /records --worker --master-host load-abcd1234-master"
    plan = found["ConfigMap/load-abcd1234-master"]["data"]
    steady = Path(__file__).parents[2] / "loadtests/steady.py"
    assert plan == {"steady.py": steady.read_text(encoding="utf-8"), "payload.jsonl": spec.payload.read_text()}


def test_a_shape_is_sent_by_its_own_file_and_a_trace_goes_with_it(spec: LoadSpec, tmp_path: Path) -> None:
    """Parquet does not fit into a ConfigMap's text, and is refused before anything is made."""
    trace = tmp_path / "trace.csv"
    trace.write_text("timestamp\n0\n1\n")
    plan = made(replace(spec, shape=Replay(str(trace), 2)))
    assert set(plan["ConfigMap/load-abcd1234-master"]["data"]) == {"replay.py", "payload.jsonl", "trace.csv"}
    master = plan["Job/load-abcd1234-master"]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert " ".join(master).startswith("-f /load/replay.py --records /records --trace /load/trace.csv --speed 2 ")
    ramp = made(replace(spec, shape=Ramp(1, 9, 5)))["Job/load-abcd1234-master"]["spec"]["template"]["spec"]
    told = " ".join(ramp["containers"][0]["args"])
    assert told.startswith("-f /load/ramp.py --records /records --from-rps 1 --to-rps 9 --ramp-s 5 ")
    pq.write_table(pa.table({"timestamp": [0.0, 1.0]}), tmp_path / "trace.parquet")
    with pytest.raises(ConfigError, match=r"trace.parquet: a distributed load takes a trace as .csv"):
        made(replace(spec, shape=Replay(str(tmp_path / "trace.parquet"))))


def test_its_pods_pass_the_restricted_standard(spec: LoadSpec) -> None:
    for part in ("master", "worker"):
        found = made(spec)[f"Job/load-abcd1234-{part}"]["spec"]["template"]["spec"]
        (container,) = found["containers"]
        assert found["securityContext"]["runAsNonRoot"]
        assert found["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        assert not found["automountServiceAccountToken"]
        assert container["image"] == "rehearsal/load:1.0"


def test_a_pod_knows_the_digest_of_what_ends_its_load_and_not_the_token(spec: LoadSpec) -> None:
    """Whoever may read Jobs in the namespace may not end a load."""
    for part in ("master", "worker"):
        (container,) = made(spec)[f"Job/load-abcd1234-{part}"]["spec"]["template"]["spec"]["containers"]
        assert {"name": pod.STOP_DIGEST, "value": pod.digest("a-token")} in container["env"]
        assert "a-token" not in str(made(spec))


def test_bodies_that_do_not_fit_are_refused_before_anything_is_made(spec: LoadSpec) -> None:
    spec.payload.write_text("x" * 900_001, encoding="utf-8")
    with pytest.raises(ConfigError, match="has 900,001 bytes, a distributed load takes 900,000"):
        documents(spec, PLACE, "abcd1234", pod.digest("a-token"))


def test_a_target_that_is_not_the_runs_own_is_refused_before_anything_is_made(spec: LoadSpec, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"http://gateway\.proxies\.svc is neither this machine nor a gateway of"):
        Pods(spec, LoadFiles(tmp_path), PLACE).start(Deadline.after(1))
