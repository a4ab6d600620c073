"""Two whole runs at the same time with the same reports, caches and state; one has secrets, the other no Prometheus."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.report.record import RunRecord
from harness.runtime.paths import cache_home
from harness.runtime.state import RunState
from tests.embedded.whole_runs import SMALL, WholeRun, processes_of, whole_run

pytestmark = pytest.mark.alone  # a canary under load is judged by its latency

SECRETS = {
    "MLFLOW_TRACKING_USERNAME": "me",
    "MLFLOW_TRACKING_PASSWORD": "s3cr3t-password-0001",
    "HF_TOKEN": "s3cr3t-token-0002",
    "AWS_SECRET_ACCESS_KEY": "s3cr3t/key+0003",
    "HTTPS_PROXY": "http://me:s3cr3t-proxy-0004@proxy.invalid:3128",
    "DATABASE_URL": "postgresql://me:s3cr3t-database-0005@db.invalid/claims",
}
TELLS = """
import os
from sklearn.tree import DecisionTreeClassifier

def train(features, target, max_depth=2):
    print("the token is", os.environ["HF_TOKEN"])
    return DecisionTreeClassifier(max_depth=max_depth).fit(features, target)
"""


@dataclass
class Pair:
    """Both runs, what they noted of themselves under load, what listened then, and how they ended."""

    runs: list[WholeRun]
    states: list[RunState]
    listening: dict[str, set[str]]
    codes: list[int]
    records: list[RunRecord]
    left: list[list[str]]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """One of each: with secrets, and a function that prints one; without Prometheus on PATH and in the cache."""
    home = tmp_path_factory.mktemp("pair")
    shutil.copytree(cache_home(), home / "cache", ignore=shutil.ignore_patterns("bin", ".*"))
    shared = {
        "REHEARSAL_CACHE": str(home / "cache"),
        "REHEARSAL_STATE": str(home / "state"),
        "REHEARSAL_RUNS": str(home / "reports"),
    }
    (home / "telling").mkdir()
    (home / "telling/mine.py").write_text(TELLS, encoding="utf-8")
    telling = SMALL.replace("trials = 1", 'entry = "mine:train"\ncandidate = { max_depth = 5 }')
    path = _path_without("prometheus", home / "programs")
    with ExitStack() as stack:
        runs = [
            stack.enter_context(whole_run(home / "telling", config=telling, **shared, **SECRETS)),
            stack.enter_context(whole_run(home / "unmeasured", **shared, PATH=path)),
        ]
        for run in runs:
            run.await_event("rollout.weight", "50 %")
        states = [run.noted() for run in runs]
        listening = {run.home.name: _listening(processes_of(run.home)) for run in runs}
        codes = [run.end() for run in runs]
        yield Pair(runs, states, listening, codes, [run.record() for run in runs], [run.left() for run in runs])


def test_both_pass_in_folders_and_on_ports_of_their_own(pair: Pair) -> None:
    """Neither ends the other's processes, and none is left."""
    assert pair.codes == [0, 0], [run.tail() for run in pair.runs]
    assert [record.status.value for record in pair.records] == ["passed", "passed"]
    one, other = pair.states
    assert one.folder != other.folder
    assert not set(one.addresses.values()) & set(other.addresses.values())
    assert not {child.process.pid for child in one.children} & {child.process.pid for child in other.children}
    assert pair.left == [[], []]
    for run in pair.runs:
        assert not [event for event in run.events() if event["kind"] in ("process.died", "process.collected")]


def test_everything_listens_on_127_0_0_1_only(pair: Pair) -> None:
    """Envoy's two ports, MLflow, Prometheus and the replicas, as the kernel says."""
    assert {name: len(found) >= 5 for name, found in pair.listening.items()} == {"telling": True, "unmeasured": True}
    addresses = {address.rpartition(":")[0] for found in pair.listening.values() for address in found}
    assert addresses == {"127.0.0.1"}


def test_secrets_of_the_environment_are_nowhere_in_the_run_folder(pair: Pair) -> None:
    """Not in a log, an event, a job's answer, MLflow's database or the report, even if the user's code prints one."""
    folder = pair.runs[0].folder
    log = (folder / "logs/pipeline-baseline.log").read_text(encoding="utf-8")
    assert "the token is ***" in log
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert {"run.json", "events.jsonl", "index.html", "junit.xml", "mlflow.db"} <= {file.name for file in files}
    assert [str(file) for file in files if b"s3cr3t" in file.read_bytes()] == []
    assert "s3cr3t" not in pair.runs[0].out() + pair.runs[0].err()


def test_without_prometheus_its_step_is_skipped_with_how_to_get_it(pair: Pair) -> None:
    """Everything else passes, and the exit code is 0."""
    run, record = pair.runs[1], pair.records[1]
    reason = (
        "there is no prometheus here: apt-get install prometheus, or put a prometheus binary (2.42 or newer) on PATH"
    )
    assert [(skip.step, skip.reason) for skip in record.skips] == [("metrics", reason)]
    assert {step.name: step.status.value for step in record.steps if step.status.value != "passed"} == {
        "metrics": "skipped"
    }
    assert f"skipped  metrics: {reason}\n" in run.out()
    assert reason in (run.folder / "index.html").read_text(encoding="utf-8")


def _path_without(program: str, folder: Path) -> str:
    """A PATH with one folder, which links to all that is on PATH now but this program."""
    folder.mkdir()
    for place in os.environ["PATH"].split(os.pathsep):
        for file in Path(place).glob("*"):
            if file.name != program and not (folder / file.name).exists():
                (folder / file.name).symlink_to(file)
    return str(folder)


def _listening(pids: list[int]) -> set[str]:
    """The addresses ("127.0.0.1:80") of these processes' listening TCP sockets, of both families."""
    inodes = {target for pid in pids for target in _sockets(pid)}
    found = set()
    for family, table in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
        for line in Path(f"/proc/net/{table}").read_text(encoding="utf-8").splitlines()[1:]:
            local, state, inode = (line.split()[at] for at in (1, 3, 9))
            if state == "0A" and inode in inodes:
                found.add(_shown(family, *local.split(":")))
    return found


def _sockets(pid: int) -> set[str]:
    try:
        targets = [str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:  # it ended meanwhile
        return set()
    return {target[len("socket:[") : -1] for target in targets if target.startswith("socket:[")}


def _shown(family: socket.AddressFamily, address: str, port: str) -> str:
    words = [bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, len(address), 8)]
    return f"{socket.inet_ntop(family, b''.join(words))}:{int(port, 16)}"
