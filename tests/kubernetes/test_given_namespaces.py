"""A whole rehearsal inside two namespaces that a team gives, by a service account with the role `rehearsal` alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness import SLO, Outcome
from harness.backends.kubernetes import arrows, rehearsal_role
from harness.backends.kubernetes.access import MATRIX, Cell, Resource
from harness.backends.kubernetes.arrows import Place
from harness.backends.kubernetes.cluster import Cluster
from harness.backends.kubernetes.leftovers import KINDS, clean
from harness.backends.kubernetes.rehearsal_role import SHARED, Where
from harness.backends.kubernetes.world import RUN_LABEL, SYSTEM, run_labels
from harness.backends.session import open_world
from harness.cli import run_command
from harness.clients.kubernetes import Kube
from harness.lifecycle.dataset import Dataset
from harness.report.record import Status
from harness.report.store import load_record
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog
from harness.runtime.wait import wait
from tests.kubernetes import network_lab
from tests.kubernetes.access_lab import ask, with_token
from tests.kubernetes.foreign_lab import Given, flags, options, platform_on
from tests.kubernetes.network_lab import Enforcing, Spot, stranger

LENIENT = SLO(errors=0.02, slower_than_ms=5000, slow=0.3)
"""What is shown is who may do what, and where every request went; a busy machine is slow."""
SETTINGS = """
[load]
rps = 100
step_deadline_s = 120
[slo]
slower_than_ms = 5000
slow = 0.3
"""
A_RUN_THAT_DIES = """
import os, pathlib, signal, sys
from harness.backends.kubernetes.world import WorldOptions
from harness.backends.session import namespaces, open_world
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog

context, kubeconfig, given, folder = sys.argv[1:]
options = WorldOptions("kubernetes", context=context, kubeconfig=pathlib.Path(kubeconfig), namespaces=namespaces(given))
world = open_world(options, pathlib.Path(folder), EventLog(pathlib.Path(folder) / "events.jsonl"))
space = world.open_run("dies", Deadline.after(60))
space.namespace("staging")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def admin(cluster_admin: Kube) -> Kube:
    return cluster_admin


def test_the_account_may_do_what_the_role_says_and_nothing_else(admin: Kube, given: Given) -> None:
    """Each verb of each resource of the role and of the people's matrix, inside and outside of its namespaces."""
    places = {given.namespaces["production"]: rehearsal_role.granted(Where.GIVEN), "default": {}}
    places |= {name: rehearsal_role.granted(where) for where, name in SHARED.items()}
    resources = {grant.resource for grant in rehearsal_role.GRANTS} | {row.resource for row in MATRIX}
    with with_token(admin, SYSTEM, rehearsal_role.NAME) as kube:
        wrong = [
            f"{verb} {resource.title} in {name}"
            for name, verbs_of in places.items()
            for resource in resources
            for verb in resource.verbs
            if _refused(kube, name, resource, verb) == (verb in verbs_of.get(resource, ()))
        ]
    assert wrong == []


def test_a_whole_rehearsal_in_given_namespaces(given: Given, admin: Kube, tmp_path: Path) -> None:
    """Train, register, staging, canary at 100 rps, drift, metrics: no request is lost, and nothing is left."""
    before = [admin.get("v1/ConfigMap", "theirs", name) for name in given.namespaces.values()]
    (tmp_path / "rehearsal.toml").write_text(SETTINGS)
    argv = ["run", "--config", str(tmp_path / "rehearsal.toml"), "--name", "given", *flags(given.restricted, tmp_path)]
    assert run_command(argv) == 0
    (folder,) = [path.parent for path in tmp_path.glob("*/run.json")]
    record = load_record(folder)
    assert [step.name for step in record.steps if step.status is not Status.PASSED] == []
    assert sum(load.sent for load in record.loads) > 500
    lost = [cls for load in record.loads for cls, count in load.classes.items() if count and "answered" not in cls]
    assert lost == []
    assert [load.unexplained for load in record.loads] == [0]
    assert left(admin, given.namespaces.values()) == []
    assert [admin.get("v1/ConfigMap", "theirs", name) for name in given.namespaces.values()] == before


def test_a_canary_under_the_network_policies(given: Given, admin: Kube, tmp_path: Path, high_utiliser: Dataset) -> None:
    """A pipeline in Pods, a payload logger, and an MLflow in another namespace of the run: the arrows are enough."""
    with (
        policies(admin, given.namespaces),
        enforcing(admin, given.namespaces),
        platform_on(given.restricted, tmp_path) as platform,
    ):
        v1 = platform.train(high_utiliser, max_depth=2, runner="cluster")
        v2 = platform.train(high_utiliser, max_depth=6)
        platform.deploy(v1, namespace="staging")
        service = platform.deploy(v1)
        where = service.namespace, service.name
        told = platform.backend.collect_answers(*where, baseline="v1", canary="v2", tolerance=1e-9)
        service.apply(service.document.with_logger(told.url))
        with platform.load(service, rps=100) as traffic:
            rollout = service.canary(v2, steps=(50, 100), slo=LENIENT, max_step_s=120)
        assert rollout.outcome is Outcome.PROMOTED, rollout.reason
        assert traffic.ledger.lost == traffic.ledger.unexplained == 0
        wait(lambda: told.answers().canary > 0, what="the canary's payload events", deadline=Deadline.after(30))
        assert told.answers().baseline > 0
        assert strangers(admin, given.namespaces.values()) == []


def test_a_run_that_was_killed_is_collected(
    given: Given, admin: Kube, tmp_path: Path, capsys: pytest.CaptureFixture[str], events: EventLog
) -> None:
    """By its label, from this machine's dead process; a run that lives is left alone, until it is named."""
    pairs = ",".join(f"{logical}={name}" for logical, name in given.namespaces.items())
    for where in (pairs, ""):
        killed(given.cluster, where, tmp_path)
    living = open_world(options(given.cluster), tmp_path / "living", events)
    with closing(living), living.open_run("lives", Deadline.after(60)) as space:
        whole = space.namespace("production")
        world = ["--context", given.cluster.context, "--kubeconfig", str(given.cluster.kubeconfig_path)]
        assert run_command(["gc", *world]) == 0
        told = capsys.readouterr().out
        assert all(f"ended run dies in namespace {name}" in told for name in given.namespaces.values())
        assert told.count("ended run dies") == 4
        assert f"left alone: run lives in namespace {whole}: process {os.getpid()} of " in told
        assert left(admin, None, run="dies") == []
        assert admin.find("v1/Service", "mlflow", whole) is not None
        assert run_command(["gc", *world, "--run", "lives"]) == 0
        assert f"ended run lives in namespace {whole}" in capsys.readouterr().out
        assert admin.find("v1/Namespace", whole) is None
    assert admin.find("v1/ConfigMap", "theirs", given.namespaces["production"]) is not None


def test_what_does_not_go_is_named(given: Given, admin: Kube) -> None:
    """Somebody's finalizer keeps it: silence would let the next run meet it."""
    name = given.namespaces["production"]
    metadata = {"name": "held", "namespace": name, "labels": run_labels("holds"), "finalizers": ["example.com/held"]}
    admin.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    quota = {"name": "rehearsal-used-up", "namespace": name, "labels": run_labels("holds")}
    admin.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": quota, "spec": {"hard": {"pods": "50"}}})
    assert clean(admin, [name], "holds", Deadline.after(2)) == [f"ConfigMap {name}/held"]
    admin.patch("v1/ConfigMap", "held", {"metadata": {"finalizers": None}}, name)
    assert clean(admin, [name], "holds", Deadline.after(10)) == []


@pytest.fixture
def events(tmp_path: Path) -> Iterator[EventLog]:
    """Where a world tells what it finds."""
    with closing(EventLog(tmp_path / "events.jsonl")) as log:
        yield log


def _refused(kube: Kube, name: str, resource: Resource, verb: str) -> bool:
    return ask(kube, Cell("", rehearsal_role.NAME, verb, resource, True), name).refused


def left(admin: Kube, namespaces: Any, run: str = "") -> list[str]:
    """What carries a run's label, of all the kinds that runs make, and their namespaces."""
    selector = f"{RUN_LABEL}={run}" if run else RUN_LABEL
    groups = {each["name"] for each in admin.server.json("GET", "/apis")["groups"]}
    kinds = [kind for kind in KINDS if kind.startswith("v1/") or kind.partition("/")[0] in groups]
    found = [
        each for kind in kinds for name in namespaces or [None] for each in admin.list(kind, name, labels=selector)
    ]
    found += admin.list("v1/Namespace", labels=selector) if namespaces is None else []
    return [f"{each['kind']} {each['metadata']['name']}" for each in found]


def killed(cluster: Cluster, given: str, folder: Path) -> None:
    """A run that has an MLflow server and two namespaces, and dies by SIGKILL."""
    argv = [sys.executable, "-c", A_RUN_THAT_DIES, cluster.context, str(cluster.kubeconfig_path), given, str(folder)]
    done = subprocess.run(argv, cwd=Path.cwd(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


@contextmanager
def policies(admin: Kube, namespaces: Mapping[str, str]) -> Iterator[None]:
    """The policies of manifests/network, on the given namespaces and on the platform's own."""
    where = dict.fromkeys(namespaces.values(), Place.MODELS)
    where |= {SYSTEM: Place.SYSTEM, arrows.PROXIES: Place.PROXIES}
    documents = [document for name, place in where.items() for document in arrows.policies(place, name)]
    try:
        admin.apply_all(documents)
        yield
    finally:
        for document in documents:
            metadata = document["metadata"]
            admin.delete("networking.k8s.io/v1/NetworkPolicy", metadata["name"], metadata["namespace"])


@contextmanager
def enforcing(admin: Kube, namespaces: Mapping[str, str]) -> Iterator[None]:
    """Something that enforces them, shown by a stranger in each of two namespaces who may not meet."""
    spots = [Spot(stranger(Place.MODELS), name) for name in namespaces.values()]
    admin.apply_all(network_lab.pod(spot) for spot in spots)
    deadline = Deadline.after(60)
    try:
        with Enforcing(admin, *(network_lab.started(admin, spot, deadline) for spot in spots)):
            yield
    finally:
        for spot in spots:
            admin.delete("v1/Pod", spot.pod, spot.namespace, grace_s=0)


def strangers(admin: Kube, namespaces: Any) -> list[str]:
    """The Pods of the platform, as they really are, whose labels make them no party of an arrow."""
    parties = {party.name: party for arrow in arrows.ARROWS for party in (arrow.source, arrow.target) if party.labels}
    where = {**dict.fromkeys(namespaces, Place.MODELS), SYSTEM: Place.SYSTEM, arrows.PROXIES: Place.PROXIES}
    return [
        f"{name}/{pod['metadata']['name']} {pod['metadata']['labels']}"
        for name, place in where.items()
        for pod in admin.list("v1/Pod", name)
        if pod["metadata"]["name"] != network_lab.STRANGER
        if not any(p.place is place and p.labels.items() <= pod["metadata"]["labels"].items() for p in parties.values())
    ]
