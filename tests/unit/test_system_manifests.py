"""The components of the kind world as data: their graph, what is taken of upstream, and what must be as embedded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from harness.backends.kubernetes.cluster import NODE_PORTS
from harness.backends.kubernetes.manifests import (
    NEEDED,
    Component,
    Ready,
    closure,
    component,
    components,
    fill,
    load,
    merged,
    title,
)
from harness.backends.kubernetes.metrics import labels
from harness.components.gateway import ACCESS_FIELDS
from harness.errors import ConfigError
from harness.lifecycle.slo import LATENCY_BUCKETS_MS
from harness.runtime.paths import data_folder

SYSTEM = data_folder("manifests") / "system"


def write(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "component.yaml").write_text(text)
    return folder


def test_every_part_of_the_platform_has_its_components_and_what_they_need() -> None:
    """What a scenario asks for can be installed, in an order in which needs come first."""
    known = components(SYSTEM)
    for names in NEEDED.values():
        order = closure(names, known)
        for name in order:
            assert all(order.index(need) < order.index(name) for need in known[name].needs)


def test_a_circle_of_needs_is_named() -> None:
    """A component that needs itself by way of another could never start."""
    known = {"a": Component("a", Path(), "1", needs=("b",)), "b": Component("b", Path(), "1", needs=("a",))}
    with pytest.raises(ConfigError, match="a needs b needs a"):
        closure(["a"], known)


def test_an_unknown_component_is_named_with_those_that_there_are() -> None:
    """A slip in a name can be mended from the message."""
    with pytest.raises(ConfigError, match="no component 'b'; there are a"):
        closure(["a"], {"a": Component("a", Path(), "1", needs=("b",))})


def test_an_unknown_key_of_a_component_is_named(tmp_path: Path) -> None:
    """A key that nobody reads would be a promise that nobody keeps."""
    with pytest.raises(ConfigError, match="unknown key reday; known are"):
        component(write(tmp_path / "x", "version: 1\nreday: []\n"))


def test_what_a_bundle_lacks_is_named(tmp_path: Path) -> None:
    """A new version of an upstream module that dropped a document is noticed before anything is applied."""
    folder = write(tmp_path / "x", "version: 1\nbundles: [{bundle: up/objects, take: [Role/gone]}]\n")
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "objects.yaml").write_text("kind: Role\nmetadata: {name: here}\n")
    with pytest.raises(ConfigError, match="the bundle up/objects has no Role/gone"):
        component(folder).documents(lambda name: tmp_path / name)


def test_what_is_taken_is_merged_and_applied_in_an_order_that_works(tmp_path: Path) -> None:
    """What others refer to comes first; a webhook comes last, so that it cannot refuse its own component."""
    text = "version: 1\nbundles: [{bundle: up/o, take: ['*/*'], merge: {Role/r: {rules: [1], old: null}}}]\n"
    folder = write(tmp_path / "x", text)
    (tmp_path / "up").mkdir()
    upstream = (
        "kind: ValidatingWebhookConfiguration\nmetadata: {name: w}\n---\nkind: Role\nmetadata: {name: r}\nold: 1\n"
    )
    (tmp_path / "up" / "o.yaml").write_text(upstream)
    (folder / "10-own.yaml").write_text(
        "kind: Deployment\nmetadata: {name: d}\n---\nkind: Namespace\nmetadata: {name: n}\n"
    )
    documents = component(folder).documents(lambda name: tmp_path / name)
    assert [title(each) for each in documents] == [
        "Namespace/n",
        "Role/r",
        "Deployment/d",
        "ValidatingWebhookConfiguration/w",
    ]
    assert documents[1] == {"kind": "Role", "metadata": {"name": "r"}, "rules": [1]}


def test_a_merge_patch_replaces_lists_and_removes_what_is_null() -> None:
    """RFC 7386."""
    assert merged({"a": {"b": 1, "c": 2}, "l": [1, 2]}, {"a": {"b": None}, "l": [3]}) == {"a": {"c": 2}, "l": [3]}


def test_only_our_placeholders_are_filled() -> None:
    """KServe's own templates have braces, too."""
    assert fill({"x": ["{id} {{.Name}} {other}"]}, {"id": "7"}) == {"x": ["7 {{.Name}} {other}"]}


def test_readiness_is_read_from_one_line() -> None:
    """A workload is rolled out; anything else has a condition."""
    assert Ready.parse("v1/Gateway ns/g Programmed") == Ready("v1/Gateway", "ns", "g", "Programmed")
    assert Ready.parse("apps/v1/Deployment ns/d").condition == ""


def proxy() -> dict[str, Any]:
    documents = load(SYSTEM / "gateway" / "20-proxy.yaml")
    spec: dict[str, Any] = documents[0]["spec"]
    return spec


def test_the_gateway_logs_what_the_embedded_one_logs() -> None:
    """The ledger reads both with the same code."""
    (settings,) = proxy()["telemetry"]["accessLog"]["settings"]
    assert settings["format"]["json"] == ACCESS_FIELDS


def test_the_gateway_has_the_embedded_one_s_latency_bounds() -> None:
    """An SLO is judged at a bound of the histogram; both worlds must have it."""
    patches = {patch["path"]: patch["value"] for patch in proxy()["bootstrap"]["jsonPatches"]}
    (buckets,) = patches["/stats_config/histogram_bucket_settings"]
    assert buckets["buckets"] == [*map(float, LATENCY_BUCKETS_MS), 3.6e6]


def test_node_ports_are_published() -> None:
    """What a manifest puts on a NodePort is reached from this machine."""
    texts = [path.read_text() for path in SYSTEM.rglob("*.yaml")]
    used = {int(port) for text in texts for port in re.findall(r"nodePort: (\d+)", text)}
    assert used
    assert used <= set(NODE_PORTS)


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [
        ("httproute/prod-1/churn--v1--1--route/rule/0", {"namespace": "prod-1", "service": "churn", "revision": "v1"}),
        (
            "httproute/prod-1/churn--v1--v2--4--route/rule/0/backend/0",
            {"namespace": "prod-1", "service": "churn", "revision": "v1"},
        ),
        (
            "httproute/prod-1/churn--v1--v2--4--route/rule/0/backend/1",
            {"namespace": "prod-1", "service": "churn", "revision": "v2"},
        ),
        ("prometheus_stats", {}),
    ],
)
def test_envoy_s_clusters_tell_service_and_revision(cluster: str, expected: dict[str, str]) -> None:
    """The series of a cluster have the labels that those of the embedded world have."""
    found = {}
    for rule in labels():
        if match := re.fullmatch(rule["regex"], cluster):
            found[rule["target_label"]] = match.expand(re.sub(r"\$\{(\d)\}", r"\\\1", rule["replacement"]))
    assert found == expected
