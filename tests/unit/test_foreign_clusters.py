"""What a cluster that is not ours is told and brought: images of its registry, what it lacks, no port of its nodes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.backends.kubernetes import here
from harness.backends.kubernetes.backend import KubernetesBackend
from harness.backends.kubernetes.foreign_install import off_the_nodes, to_bring, without_needs
from harness.backends.kubernetes.manifests import components, fill, load
from harness.backends.kubernetes.pipeline_job import Cluster
from harness.backends.kubernetes.registry import check_prefix, for_clusters, how_to_get, in_registry, moved
from harness.errors import AccessDenied, CapabilityMissing, ConfigError, UsageError
from harness.images.catalogue import load as catalogue
from harness.load.remote import refuse_leaving
from harness.report.record import Status
from harness.run import Run
from harness.runtime.events import EventLog
from harness.runtime.paths import data_folder
from tests.unit.test_worlds import WHOLE

SYSTEM = components(data_folder("manifests") / "system")
PREFIX = "registry.example:5000/ml"


def test_an_image_keeps_its_path_and_tag_in_the_registry() -> None:
    """What it came from is no part of its name there."""
    assert moved("docker.io/kserve/agent:v0.20.0", PREFIX) == f"{PREFIX}/kserve/agent:v0.20.0"
    assert moved("rehearsal/load:0.1.0", PREFIX) == f"{PREFIX}/rehearsal/load:0.1.0"
    assert moved("rehearsal/load:0.1.0", "") == "rehearsal/load:0.1.0"


def test_no_two_images_have_one_name_in_the_registry() -> None:
    """One would be served in place of the other."""
    images = [item.id for item in catalogue().items.values() if item.is_image]
    assert len({moved(name, PREFIX) for name in images}) == len(images)


def test_images_are_renamed_wherever_a_document_names_them() -> None:
    """Also within the settings of KServe and Envoy Gateway, which are texts; nobody else's image is touched."""
    document = {
        "image": "rehearsal/model-server:0.1.0",
        "settings": '{"image": "kserve/agent:v0.20.0", "memory": "1Gi"}',
        "others": ["nginx:1", "registry.example/rehearsal/load:0.1.0", "docker.io/kserve/agent:v0.20.0-debug"],
    }
    told = in_registry(document, PREFIX)
    assert told["image"] == f"{PREFIX}/rehearsal/model-server:0.1.0"
    assert json.loads(told["settings"])["image"] == f"{PREFIX}/kserve/agent:v0.20.0"
    assert told["others"] == document["others"]
    assert in_registry(document, "") is document


def test_every_image_that_install_applies_is_pushed() -> None:
    """A manifest with an image that is not would leave a Pod without it."""
    folder = data_folder("manifests")
    named = str(fill([load(folder / "system" / name) for name in SYSTEM if name != "postgres"], {}))
    left = in_registry(named, PREFIX)
    for name in for_clusters():
        left = left.replace(moved(name, PREFIX), "")
    assert PREFIX not in left
    assert {"rehearsal/load:0.1.0", "ghcr.io/mlflow/mlflow:v3.17.2"} < set(for_clusters())


def test_an_image_that_is_ours_is_built_and_pushed() -> None:
    """By the names that a Pod may have it under; for anybody else's there is no command."""
    for name in ("kserve/agent:v0.20.0", "docker.io/kserve/agent:v0.20.0", f"{PREFIX}/kserve/agent:v0.20.0"):
        assert how_to_get(name).startswith("rehearse images build docker.io/kserve/agent:v0.20.0; ")
        assert "rehearse images push PREFIX" in how_to_get(name)
    assert how_to_get("nginx:1") == how_to_get("rehearsal/model-server:9") == ""


@pytest.mark.parametrize("prefix", ["https://registry.example", "Registry/ml", "registry.example/", "a b", "-x"])
def test_a_prefix_that_no_image_can_have_is_one_line(prefix: str) -> None:
    with pytest.raises(ConfigError, match="image prefix: expected a registry and perhaps a path"):
        check_prefix(prefix)


def test_a_bare_cluster_is_brought_what_serving_needs_in_order() -> None:
    """With the kinds before those who serve them."""
    nothing = dict.fromkeys(WHOLE.there(), False)
    brought = to_bring(nothing, SYSTEM, ())
    assert {"kserve-crds", "envoy-gateway-crds", *nothing} == set(brought)
    assert brought.index("kserve-crds") < brought.index("kserve") < brought.index("serving")


def test_what_is_there_is_not_applied_again() -> None:
    """Somebody's own KServe stays in its version, though our runtime needs one."""
    lacking = replace(WHOLE, serving=False, prometheus=False)
    brought = to_bring(lacking.there(), SYSTEM, ())
    assert brought == ["prometheus", "serving"]
    assert without_needs(brought, SYSTEM)["serving"].needs == ()
    assert to_bring(WHOLE.there(), SYSTEM, ()) == []


def test_an_installation_that_was_interrupted_is_brought_to_its_end() -> None:
    """Half of it looks as if it were there: the kinds are served, and nobody serves them."""
    assert to_bring(WHOLE.there(), SYSTEM, ["kserve-crds", "kserve"]) == ["kserve-crds", "kserve"]


def test_nothing_is_published_on_the_nodes_of_a_cluster_that_is_not_ours() -> None:
    """Prometheus asks nobody for a password."""
    applied = [
        off_the_nodes(document) for name in SYSTEM for document in load(SYSTEM[name].folder) if "kind" in document
    ]
    assert "odePort" not in str([each for each in applied if each["kind"] in ("Service", "EnvoyProxy")])
    assert len(applied) > 30


class Nodes:
    """An API server at an address, with nodes of these boot ids; None: they may not be read."""

    def __init__(self, host: str, boots: list[str] | None) -> None:
        self.server = SimpleNamespace(api=SimpleNamespace(configuration=SimpleNamespace(host=host)))
        self.boots = boots

    def list(self, kind: str) -> list[dict[str, Any]]:
        if self.boots is None:
            raise AccessDenied("Not allowed: list nodes")
        return [{"status": {"nodeInfo": {"bootID": boot}}} for boot in self.boots]


LOOPBACK = "https://127.0.0.1:6443"


@pytest.mark.parametrize(
    ("host", "boots", "away"),
    [
        (LOOPBACK, ["ours"], False),
        (LOOPBACK, ["theirs"], True),
        (LOOPBACK, ["ours", "theirs"], True),
        (LOOPBACK, None, True),
        (LOOPBACK, [], True),
        ("https://10.0.0.1:6443", ["ours"], True),
    ],
)
def test_a_tunnel_s_end_is_not_this_machine(
    monkeypatch: pytest.MonkeyPatch, host: str, boots: list[str] | None, away: bool
) -> None:
    """The API server at the loopback address counts only with nodes that run on this very kernel."""
    monkeypatch.setattr(here, "boot_id", lambda: "ours")
    kube: Any = Nodes(host, boots)
    assert here.elsewhere(kube) == (host if away else "")


def test_load_that_would_leave_the_machine_is_refused() -> None:
    with pytest.raises(UsageError, match=r"load would leave this machine, for https://10\.0\.0\.1:6443") as caught:
        refuse_leaving("https://10.0.0.1:6443")
    assert "--allow-remote" in caught.value.hint
    refuse_leaving("")


def test_a_service_left_to_kserve_gets_no_load_from_here_without_leave(tmp_path: Path) -> None:
    """Its requests go straight to KServe's gateway: the platform's own refusal does not see them."""
    world: Any = SimpleNamespace(name="kubernetes", kube=None, system="s", leaves_machine="https://10.0.0.1:6443")
    document: Any = None
    with closing(EventLog(tmp_path / "events.jsonl")) as events:
        backend = KubernetesBackend(tmp_path, events, world)
        with pytest.raises(UsageError, match="load would leave this machine"):
            backend.left_to_kserve(document)
        backend.supervisor.close()


def lack(capability: str) -> None:
    """A call that this world cannot answer."""
    raise CapabilityMissing(capability, hint="install it")


def test_only_an_optional_step_is_skipped(tmp_path: Path) -> None:
    """What later steps go on from cannot be done without: its lack is the run's end, in its own words."""
    with Run(tmp_path, title="a release", backend="kubernetes") as run:
        with run.step("metrics", "Compare counts", optional=True):
            lack("metrics")
        with pytest.raises(CapabilityMissing), run.step("staging", "Serve the candidate"):
            lack("serving")
    assert [step.status for step in run.record.steps] == [Status.SKIPPED, Status.FAILED]
    assert [skip.step for skip in run.record.skips] == ["metrics"]


def test_a_pipeline_s_place_crosses_the_process_border_with_its_registry() -> None:
    cluster = Cluster("n", "r", "http://s", "http://mlflow:5000", image_prefix=PREFIX)
    told: Mapping[str, Any] = json.loads(json.dumps(cluster.to_dict()))
    assert Cluster.from_dict(told) == cluster
