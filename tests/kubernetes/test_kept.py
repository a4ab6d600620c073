"""A kept cluster: taken again with what it has, made whole where a session was killed in it, removed when told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from harness.backends.backend import Part
from harness.backends.kubernetes import clusters
from harness.backends.kubernetes.clusters import KEPT
from harness.backends.kubernetes.disruptions import QUOTA, Disruptions
from harness.backends.kubernetes.docker import containers_of, image_id
from harness.backends.kubernetes.faults import WEBHOOK
from harness.backends.kubernetes.kind import KindWorld
from harness.backends.kubernetes.nodes import Nodes
from harness.backends.kubernetes.world import SYSTEM, WorldOptions
from harness.cli import run_command
from harness.errors import ConfigError
from harness.lifecycle.dataset import Dataset
from harness.platform import Platform
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog

POLICY = """
kind = "canary"
steps = [10, 50, 100]
[slo]
errors = 0.02
slower_than_ms = 2000
slow = 0.4
"""
"""How quick a busy machine answers is nothing that these tests are about."""
MODEL_SERVER = "docker.io/rehearsal/model-server:0.1.0"
KILLED = """
from harness.backends.backend import Part
from harness.backends.kubernetes.kind import KindWorld
from harness.backends.kubernetes.world import WorldOptions
from harness.runtime.clock import Deadline
world = KindWorld.open(WorldOptions("kind", keep=True), lambda name, message: print(name, message, flush=True))
world.ensure(Part.SERVING, Deadline.after(300))
"""


@pytest.fixture(scope="module", autouse=True)
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A state folder of this module's own: one cluster is kept from test to test, and is removed at the end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REHEARSAL_STATE", str(tmp_path_factory.mktemp("state")))
        yield
        assert run_command(["gc", "--kept"]) == 0
        assert containers_of(KEPT) == []


def reused(told: list[str] | None = None) -> KindWorld:
    """The kept cluster, or one that is kept from now on."""
    said = told if told is not None else []
    return KindWorld.open(WorldOptions("kind", reuse=True), lambda name, message: said.append(f"{name}: {message}"))


def answers(folder: Path, dataset: Dataset) -> bool:
    """Whether a run on the kept cluster trains, serves and gets a prediction."""
    with Platform.up(folder, world=WorldOptions("kind", reuse=True), deadline=Deadline.after(300)) as platform:
        model = platform.train(dataset, max_depth=2)
        return len(platform.deploy(model).predict([[0.0] * len(model.features)])) == 1


def test_a_session_that_was_killed_while_it_installed_is_gone_on_with(tmp_path: Path, high_utiliser: Dataset) -> None:
    """Kill -9 in the middle of it; the next session completes it, on the same node."""
    env = {name: value for name, value in os.environ.items() if name != "PYTEST_XDIST_TESTRUNUID"}
    process = subprocess.Popen([sys.executable, "-c", KILLED], env=env, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert next((line for line in process.stdout if "ready in" in line), "")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    node = containers_of(KEPT)
    assert answers(tmp_path / "run", high_utiliser)
    assert containers_of(KEPT) == node


def test_what_a_killed_sessions_faults_left_is_mended(tmp_path: Path, high_utiliser: Dataset) -> None:
    """KServe without Pods, a cordoned node, a hidden image, a namespace at its quota: no trace, and it serves again."""
    with closing(EventLog(tmp_path / "events.jsonl")) as events, closing(reused()) as world:
        world.ensure(Part.SERVING, Deadline.after(300))
        world.ensure(Part.TRACKING, Deadline.after(300))
        run = world.open_run("killed", Deadline.after(120))  # and never closed
        namespace, (node,) = run.namespace("production"), Nodes(world.kube).names()
        faults = Disruptions(world.kube, events, "killed")  # none is undone
        faults.use_up_quota(namespace, Deadline.after(30))
        faults.hide_image(MODEL_SERVER)
        faults.stop_webhook(*WEBHOOK)
        faults.drain(node, namespaces=[namespace], deadline=Deadline.after(5))

    told: list[str] = []
    with closing(reused(told)) as world:
        kube = world.kube
        assert [line for line in told if namespace in line]
        assert not kube.get("v1/Node", node)["spec"].get("unschedulable")
        assert Nodes(kube).hidden_images(node) == []
        kube.wait_deleted("v1/Namespace", namespace, None, Deadline.after(60))
        assert kube.find("v1/ResourceQuota", QUOTA, namespace) is None
    assert answers(tmp_path / "run", high_utiliser)


def test_the_main_job_runs_in_it(tmp_path: Path) -> None:
    """As typed: `rehearse run --backend kind --reuse`; the record says where, and that all its steps passed."""
    before = containers_of(KEPT)
    policy, reports = tmp_path / "canary.toml", tmp_path / "reports"
    policy.write_text(POLICY, encoding="utf-8")
    flags = ["--backend", "kind", "--reuse", "--policy", str(policy), "--reports", str(reports)]
    assert run_command(["run", *flags]) == 0
    (file,) = reports.glob("*/run.json")
    record = json.loads(file.read_text(encoding="utf-8"))
    assert (record["status"], record["backend"]) == ("passed", "kind")
    assert {load["unexplained"] for load in record["loads"]} == {0}
    assert {step["status"] for step in record["steps"]} <= {"passed", "skipped"}
    assert "kserve" in {component["name"] for component in record["components"]}
    assert before in ([], containers_of(KEPT))


SHARING = """
import sys
from pathlib import Path
from harness.backends.kubernetes.world import WorldOptions
from harness.lifecycle.dataset import high_utiliser
from harness.platform import Platform
from harness.runtime.clock import Deadline
with Platform.up(
    Path(sys.argv[1]), world=WorldOptions("kind", reuse=True), deadline=Deadline.after(300)
) as platform:
    model = platform.train(high_utiliser(), max_depth=2)
    service = platform.deploy(model)
    service.predict([[0.0] * len(model.features)])
    print(model.version, service.namespace, flush=True)
"""


def test_two_processes_share_it(tmp_path: Path) -> None:
    """At the same time: each has namespaces and a registry of its own, where its first version is version 1."""
    processes = [
        subprocess.Popen([sys.executable, "-c", SHARING, str(tmp_path / name)], stdout=subprocess.PIPE, text=True)
        for name in ("one", "other")
    ]
    said = [process.communicate(timeout=300)[0].splitlines()[-1].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert [version for version, _ in said] == ["1", "1"]
    assert said[0][1] != said[1][1]
    assert len(containers_of(KEPT)) == 1


def test_a_component_that_has_lost_its_deployment_is_installed_again() -> None:
    """That it was installed once is no proof."""
    with closing(reused()) as world:
        world.ensure(Part.METRICS, Deadline.after(300))
        world.kube.delete("apps/v1/Deployment", "prometheus", SYSTEM)
        world.kube.wait_deleted("apps/v1/Deployment", "prometheus", SYSTEM, Deadline.after(60))
    with closing(reused()) as world:
        world.ensure(Part.METRICS, Deadline.after(120))
        assert world.kube.get("apps/v1/Deployment", "prometheus", SYSTEM)["status"]["readyReplicas"] == 1


def test_a_cluster_of_another_node_image_is_made_anew() -> None:
    """Else it would serve with the code of before; while somebody uses it, that is refused in a line."""
    with closing(reused()) as world:
        before, state = containers_of(KEPT), clusters.read(KEPT)
        assert state is not None
        assert state.image == image_id(world.cluster.image)
        clusters.write(replace(state, image="sha256:old"))
        with pytest.raises(ConfigError, match="another node image than there is now"):
            reused()
    told: list[str] = []
    with closing(reused(told)):
        assert containers_of(KEPT) != before
    assert any("its node image is not the one that there is now" in line for line in told)


def test_keep_without_reuse_says_that_it_removes_the_one_that_was_kept() -> None:
    """And `gc` removes it only when told so."""
    before, told = containers_of(KEPT), list[str]()
    world = KindWorld.open(WorldOptions("kind", keep=True), lambda name, message: told.append(message))
    world.close()
    assert any("it was kept; --reuse would take it" in line for line in told)
    assert containers_of(KEPT) not in ([], before)
    assert run_command(["gc"]) == 0
    assert containers_of(KEPT)
    assert run_command(["gc", "--kept"]) == 0
    assert containers_of(KEPT) == []
