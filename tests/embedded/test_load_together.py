"""A master and its workers, as processes: the schedules of all workers are one, and their parts make one ledger."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.clients.http import client
from harness.load import Ledger, LoadSpec, pod
from harness.load.access_log import AccessLogTail
from harness.load.account import account
from harness.load.records import LoadFiles, read_json
from harness.load.shapes import Steady
from harness.runtime.clock import Deadline
from harness.runtime.ports import reserve
from harness.runtime.wait import wait
from tests.embedded.load_gateway import Gateway, running

STEADY = Path(__file__).parents[2] / "loadtests/steady.py"
WORKERS = 2


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with running(tmp_path) as gateway:
        yield gateway


def test_workers_share_one_schedule_and_their_parts_make_one_ledger(gateway: Gateway) -> None:
    """200 rps from two workers: evenly spaced over both, every request answered, none twice."""
    payload = gateway.folder / "payload.jsonl"
    payload.write_text('{"instances": [[1]]}\n')
    files = LoadFiles(gateway.folder / "parts")
    files.folder.mkdir()
    spec = LoadSpec("test", gateway.url, "model.example.com", "/v1", payload, Steady(200), max_s=30, workers=WORKERS)
    log = AccessLogTail(gateway.access_log, "abcd1234", files, spec.most)
    port = str(reserve())
    plan = ["--rps", "200", "--path", "/v1", "--payload", str(payload), "--load-id", "abcd1234"]
    plan += ["--records", str(files.folder), "--host", gateway.url, "--users", "2", "--spawn-rate", "2"]
    ends = ["--run-time", "4s", "--stop-timeout", "7", "--exit-code-on-error", "0", "--headless"]
    argv = [sys.executable, "-m", "locust", "-f", str(STEADY)]
    master = [*argv, *plan, *ends, "--master", "--master-bind-port", port, "--expect-workers", str(WORKERS)]
    worker = [*argv, "--worker", "--master-port", port]

    children = [gateway.supervisor.spawn("master", master, task=True)]
    children += [gateway.supervisor.spawn(f"worker-{n}", worker, task=True) for n in range(WORKERS)]
    assert [child.wait(60) for child in children] == [0, 0, 0], children[0].tail()
    ledger = ended(gateway, spec, files, log)
    assert (ledger.unexplained, ledger.lost, ledger.workers) == (0, 0, WORKERS)
    assert ledger.sent == pytest.approx(200 * ledger.duration_s, rel=0.1)
    assert ledger.sent > 200
    parts = [read_json(files.finished(share))["requests"] for share in range(WORKERS)]
    assert parts[0] == pytest.approx(parts[1], abs=20)


def ended(gateway: Gateway, spec: LoadSpec, files: LoadFiles, log: AccessLogTail) -> Ledger:
    left = sum(int(read_json(files.finished(share))["left"]) for share in range(WORKERS))

    def complete() -> bool:
        log.read()
        return log.taken >= left

    wait(complete, what="the log", deadline=Deadline.after(5))
    log.close()
    return account(spec, files, log, gateway.folder / "ledger.parquet")


def test_steady_refuses_to_leave_the_machine_by_accident() -> None:
    argv = [sys.executable, "-m", "locust", "-f", str(STEADY), "--headless", "--host", "http://192.0.2.1"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "steady.py: load: http://192.0.2.1 is neither this machine nor a gateway of this run "
        "Hint: --allow-remote sends the load there all the same."
    )


def test_a_pods_files_and_its_end_are_asked_for_over_http(gateway: Gateway) -> None:
    """What a Pod of a distributed load runs, as a process: its state, its parts as bytes, and its stop."""
    folder, port = gateway.folder / "records", reserve()
    argv = [
        sys.executable,
        "-c",
        f"import sys; from harness.load.pod import main; sys.exit(main(sys.argv[1:], {port}))",
    ]
    argv += ["-f", str(STEADY), "--headless", "--host", gateway.url, "--rps", "50", "--path", "/v1"]
    argv += ["--records", str(folder), "--stop-timeout", "7"]
    child = gateway.supervisor.spawn("pod", argv, env={pod.STOP_DIGEST: pod.digest("the-token")})
    with client(f"http://127.0.0.1:{port}") as http:
        wait(lambda: http.get("/started-0.json").status_code == 200, what="traffic", deadline=Deadline.after(30))
        state = http.get("/state").json()
        assert state["running"]
        assert state["audit"]["age_s"] < 5
        assert http.post("/stop").status_code == 403
        assert http.post("/stop", json={"token": "another"}).status_code == 403
        assert http.get("/state").json()["running"]
        assert http.post("/stop", json={"token": "the-token"}).status_code == 200
        wait(lambda: not http.get("/state").json()["running"], what="its end", deadline=Deadline.after(20))
        assert http.get("/state").json()["code"] == 0
        assert json.loads(http.get("/finished-0.json").text)["requests"] > 0
        assert http.get("/records-0.bin").content == (folder / "records-0.bin").read_bytes()
        assert http.get("/..%2Fpayload.jsonl").status_code == 404
    assert gateway.supervisor.stop(child) == 0
