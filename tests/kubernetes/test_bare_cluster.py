"""A cluster of somebody's in which nothing is installed: refused in a line, and brought what it lacks by --install."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from harness.backends.kubernetes.arrows import PROXIES
from harness.backends.kubernetes.cluster import Cluster
from harness.backends.kubernetes.detect import detect
from harness.backends.kubernetes.foreign_install import BEGUN, install
from harness.backends.kubernetes.install import INSTALLED
from harness.backends.kubernetes.kind import KindWorld
from harness.backends.kubernetes.nodes import Nodes
from harness.backends.kubernetes.registry import for_clusters, moved
from harness.backends.kubernetes.world import RUN_LABEL, SYSTEM, WorldOptions
from harness.backends.session import open_world
from harness.cli import run_command
from harness.clients.kubernetes import Kube
from harness.errors import AccessDenied, ConfigError
from harness.lifecycle.dataset import Dataset
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog
from harness.runtime.wait import wait
from tests.kubernetes.foreign_lab import flags, kubeconfig_of, options, platform_on

PREFIX = "registry.example/ml"
"""A registry that only the node knows: its images are there under this prefix, and under no other name."""
CRD = "apiextensions.k8s.io/v1/CustomResourceDefinition"
DEPLOYMENT = "apps/v1/Deployment"
TWO_TESTS = """
from harness.backends.backend import Part

def test_first(platform):
    platform.start(Part.SERVING)

def test_second(platform):
    platform.start(Part.SERVING)
"""


@pytest.fixture(scope="module")
def bare(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A kind cluster of this module's own, with nothing but Kubernetes in it."""
    if request.config.getoption("--backend") != "kind":
        pytest.skip("needs --backend kind")
    with closing(KindWorld.open(WorldOptions("kind"))) as world:
        yield world.cluster


@pytest.fixture(scope="module")
def kube(bare: Cluster) -> Iterator[Kube]:
    with Kube.connect(bare.kubeconfig_path, bare.context) as kube:
        yield kube


@pytest.fixture
def events(tmp_path: Path) -> Iterator[EventLog]:
    """Where the worlds tell what they find."""
    with closing(EventLog(tmp_path / "events.jsonl")) as log:
        yield log


@pytest.fixture
def too_old(kube: Kube) -> Iterator[None]:
    """InferenceServices as KServe had them before 0.20: without spec.canary."""
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"predictor": {"type": "object"}}}},
    }
    names = {"kind": "InferenceService", "plural": "inferenceservices", "listKind": "InferenceServiceList"}
    versions = [{"name": "v1beta1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}]
    name = "inferenceservices.serving.kserve.io"
    document = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": name}}
    defined = {"group": "serving.kserve.io", "scope": "Namespaced", "names": names, "versions": versions}
    kube.apply({**document, "spec": defined})
    wait(lambda: detect(kube).kserve, what="the old kind", deadline=Deadline.after(30))
    yield
    kube.delete(CRD, name)
    kube.wait_deleted(CRD, name, None, Deadline.after(30))
    wait(lambda: not detect(kube).kserve, what="the end of the old kind", deadline=Deadline.after(60))


def test_a_cluster_without_kserve_is_one_line(bare: Cluster, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Not a skip of what cannot be done, and not the traceback of what comes after it."""
    assert run_command(["run", *flags(options(bare), tmp_path)]) == 2
    told = [line for line in capfd.readouterr().err.splitlines() if line.startswith("rehearse: ")]
    assert len(told) == 1
    assert "KServe is missing: 0.20 or later is needed" in told[0]
    assert "--install" in told[0]


@pytest.mark.usefixtures("too_old")
def test_a_kserve_that_is_too_old_is_one_line(bare: Cluster, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Whatever its controller says of its version: its InferenceService has no canaries."""
    assert run_command(["run", *flags(options(bare), tmp_path)]) == 2
    assert "is too old: 0.20 or later is needed (spec.canary)" in capfd.readouterr().err


def test_scenarios_on_a_cluster_without_kserve_are_not_skipped(bare: Cluster, tmp_path: Path) -> None:
    """Else a suite would be green that has shown nothing."""
    (tmp_path / "test_two.py").write_text(TWO_TESTS)
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "test_two.py", *flags(options(bare), tmp_path)]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 2, done.stdout
    assert "KServe is missing: 0.20 or later is needed" in done.stdout
    assert "skipped" not in done.stdout


def test_only_an_administrator_installs(bare: Cluster, kube: Kube, tmp_path: Path, events: EventLog) -> None:
    """The verb and the resource that it takes are named before anything is applied."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "nobody", "namespace": "default"}}
    kube.apply(account)
    kubeconfig = kubeconfig_of(bare, tmp_path, "nobody", "default")
    with pytest.raises(AccessDenied, match="create customresourcedefinitions"):
        open_world(options(bare, context="nobody", kubeconfig=kubeconfig, install=True), tmp_path, events)
    assert kube.find("v1/Namespace", "kserve") is None


def test_an_image_that_the_cluster_cannot_pull_ends_the_wait(
    bare: Cluster, kube: Kube, tmp_path: Path, events: EventLog
) -> None:
    """With the commands that get it there, long before the run's deadline."""
    world = open_world(options(bare, image_prefix="registry.invalid/ml"), tmp_path, events)
    with closing(world), pytest.raises(ConfigError, match=r"no image registry\.invalid/ml/mlflow/mlflow:") as caught:
        world.open_run("no-image", Deadline.after(60))
    assert "rehearse images push PREFIX" in caught.value.hint
    made = kube.list("v1/Namespace", labels=f"{RUN_LABEL}=no-image")
    assert [found["metadata"]["name"] for found in made if "deletionTimestamp" not in found["metadata"]] == []


def test_install_brings_what_is_missing_from_the_cluster_s_own_registry(
    bare: Cluster, kube: Kube, tmp_path: Path, high_utiliser: Dataset
) -> None:
    """Once: a model is trained, served and asked; then there is nothing left to be brought."""
    for name in for_clusters():
        Nodes(kube).rename_image(bare.node, _on_node(name), _on_node(moved(name, PREFIX)))
    with platform_on(options(bare, install=True, image_prefix=PREFIX), tmp_path / "first") as platform:
        model = platform.train(high_utiliser, max_depth=2, runner="cluster")
        service = platform.deploy(model)
        drawn = platform.sample(model, [{"name": "some", "rows": 5}])["some"]
        assert service.predict(drawn["rows"]) == pytest.approx(drawn["offline"])
    pods = [pod for name in (SYSTEM, PROXIES, "kserve") for pod in kube.list("v1/Pod", name)]
    pods += kube.list("v1/Pod", "kube-system", labels="k8s-app=metrics-server")
    images = {each["image"] for pod in pods for each in pod["spec"]["containers"]}
    assert len(images) > 5
    assert {image for image in images if not image.startswith(f"{PREFIX}/")} == set()
    assert [found["metadata"]["name"] for found in kube.list("v1/Service") if found["spec"]["type"] == "NodePort"] == []
    noted = kube.get("v1/ConfigMap", INSTALLED, SYSTEM)
    with platform_on(options(bare, install=True, image_prefix=PREFIX), tmp_path / "second"):
        assert kube.get("v1/ConfigMap", INSTALLED, SYSTEM) == noted


def test_an_installation_that_was_interrupted_is_completed(kube: Kube) -> None:
    """The kinds are there, and who serves them is not: that is no KServe of the cluster's owner."""
    if not detect(kube).kserve:
        pytest.skip("goes on from the installation")
    kube.delete(DEPLOYMENT, "kserve-controller-manager", "kserve")
    kube.patch("v1/ConfigMap", INSTALLED, {"data": {BEGUN: json.dumps(["kserve"])}}, SYSTEM)
    assert install(kube, detect(kube), lambda name, message: None, image_prefix=PREFIX) == ["kserve"]
    found = kube.get(DEPLOYMENT, "kserve-controller-manager", "kserve")
    assert found["status"]["readyReplicas"] == 1
    assert install(kube, detect(kube), lambda name, message: None, image_prefix=PREFIX) == []


def _on_node(image: str) -> str:
    """An image's name as containerd keeps it."""
    return image if "." in image.partition("/")[0] else f"docker.io/{image}"
