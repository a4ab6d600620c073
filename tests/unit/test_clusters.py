"""Which clusters are whose: nobody's is removed, a used or kept one never."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from harness.backends.kubernetes import cluster, clusters, kind
from harness.backends.kubernetes.cluster import NODE_PORTS, creation_failure, kind_config
from harness.backends.kubernetes.clusters import KEPT, ClusterState, Way, session_name, way
from harness.errors import ConfigError, PlatformError, WaitTimeout
from harness.runtime.clock import Deadline
from harness.runtime.identity import Identity

ME = Identity.of(os.getpid())
DEAD = Identity(ME.pid, ME.start + 1)


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REHEARSAL_STATE", str(tmp_path))


@pytest.mark.parametrize(
    ("state", "abandoned"),
    [
        (ClusterState("c", ready=True, users=(ME,)), False),
        (ClusterState("c", ready=True, users=(DEAD,)), True),
        (ClusterState("c", ready=True, kept=True, users=(DEAD,)), False),
        (ClusterState("c", ready=False, kept=True, users=(DEAD,)), True),
        (ClusterState("c", ready=False, users=(ME, DEAD)), False),
    ],
)
def test_a_cluster_is_abandoned_when_nobody_uses_or_keeps_it(state: ClusterState, abandoned: bool) -> None:
    """One that was never made to the end is kept for nobody."""
    assert state.abandoned() is abandoned


@pytest.mark.parametrize(
    ("state", "reuse", "expected", "why"),
    [
        (None, True, Way.MAKE, ""),
        (ClusterState("c", ready=True, users=(ME,), image="new"), False, Way.JOIN, ""),
        (ClusterState("c", ready=True, kept=True, users=(DEAD,), image="new"), True, Way.REVIVE, ""),
        (ClusterState("c", ready=True, kept=True, image="new"), False, Way.MAKE, "it was kept; --reuse would take it"),
        (ClusterState("c", ready=True, kept=True, image="old"), True, Way.MAKE, "its node image is not the one"),
        (ClusterState("c", ready=True, kept=True), True, Way.MAKE, "its node image is not the one"),
        (ClusterState("c", ready=False, kept=True, users=(DEAD,), image="new"), True, Way.MAKE, "not made to its end"),
    ],
)
def test_a_cluster_is_taken_only_if_it_runs_the_code_of_now(
    state: ClusterState | None, reuse: bool, expected: Way, why: str
) -> None:
    """And none is removed without a word."""
    chosen, told = way(state, "new", reuse=reuse)
    assert chosen is expected
    assert why in told


def test_a_cluster_of_another_image_is_not_taken_from_who_uses_it() -> None:
    """One line with the process, and what to do."""
    state = ClusterState("c", ready=True, kept=True, users=(ME,), image="old")
    with pytest.raises(
        ConfigError, match=f"another node image than there is now, and process {ME.pid} uses it"
    ) as told:
        way(state, "new", reuse=True)
    assert "--reuse" in told.value.hint


def test_the_last_user_is_the_one_that_leaves_nobody() -> None:
    """Users that died count as gone."""
    state = ClusterState("c", ready=True, users=(DEAD,)).used_by(ME, kept=False)
    assert state.users == (ME,)
    assert state.left_by(ME).abandoned()


def test_a_state_outlives_the_process_that_wrote_it() -> None:
    """The next process finds what there is to delete."""
    state = ClusterState("rehearsal-1", ready=True, kept=True, users=(ME,))
    clusters.write(state)
    assert clusters.read("rehearsal-1") == state
    assert clusters.names() == ["rehearsal-1"]
    clusters.forget("rehearsal-1")
    assert clusters.read("rehearsal-1") is None


def test_two_processes_do_not_make_one_cluster_at_once() -> None:
    """The second waits, and says for what."""
    with (
        clusters.locked("c", Deadline.after(1)),
        pytest.raises(WaitTimeout, match="the cluster c, which another process makes"),
        clusters.locked("c", Deadline.after(0)),
    ):
        pass


def test_a_lock_goes_with_its_cluster() -> None:
    """Nothing is left of a cluster that is gone."""
    with clusters.locked("c", Deadline.after(1)):
        assert [path.name for path in clusters.folder().iterdir()] == ["c.lock"]
    assert not list(clusters.folder().iterdir())


def test_the_workers_of_one_test_run_share_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest-xdist gives them one number; a kept cluster has a name that the next session finds."""
    monkeypatch.setenv("PYTEST_XDIST_TESTRUNUID", "0123456789abcdef")
    assert session_name(False, False) == session_name(False, False) == "rehearsal-01234567"
    assert session_name(True, False) == session_name(False, True) == KEPT
    monkeypatch.delenv("PYTEST_XDIST_TESTRUNUID")
    assert session_name(False, False) != session_name(False, False)


def test_a_cluster_is_reached_from_this_machine_alone() -> None:
    """Every port is published on the loopback address, where Docker finds one that is free."""
    config = kind_config("c", "image", own_cni=True)
    (node,) = config["nodes"]
    mappings = node["extraPortMappings"]
    assert {(each["listenAddress"], each["hostPort"]) for each in mappings} == {("127.0.0.1", -1)}
    assert {each["containerPort"] for each in mappings} == set(NODE_PORTS)
    assert config["networking"]["apiServerAddress"] == "127.0.0.1"
    assert all(yaml.safe_load(patch)["kind"] for patch in config["kubeadmConfigPatches"])


@pytest.mark.parametrize(
    ("log", "told"),
    [
        ("docker: Bind for 127.0.0.1:80 failed: port is already allocated", "a port that it publishes is taken"),
        ("ERROR: failed to create cluster: x\nStack", "ERROR: failed to create cluster: x"),
        ("open /sys: operation not permitted", "Docker may not run privileged containers here"),
        ("", "it said nothing"),
    ],
)
def test_a_creation_that_failed_is_told_in_a_line(log: str, told: str) -> None:
    """kind's log is long; its cause is not."""
    assert told in creation_failure(log)
    assert "\n" not in creation_failure(log)


def test_a_cluster_is_left_though_what_is_being_installed_in_it_does_not_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or it would stay until somebody collects it."""
    done: list[str] = []

    def fails() -> None:
        done.append("installer")
        raise PlatformError("an installation does not stop")

    world = kind.KindWorld.__new__(kind.KindWorld)
    parts: Any = SimpleNamespace
    world._closed, world.cluster = False, parts(name="c")
    world._installer = parts(stop=fails)
    world._mlflow, world.kube = (parts(close=lambda name=name: done.append(name)) for name in ("mlflow", "client"))
    monkeypatch.setattr(cluster, "release", lambda cluster: done.append(f"cluster {cluster.name}"))
    with pytest.raises(PlatformError, match="does not stop"):
        world.close()
    assert done == ["installer", "mlflow", "client", "cluster c"]
