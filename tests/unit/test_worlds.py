"""Which world a command runs in: mistakes are one line before anything starts, a foreign cluster is read as it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness._cli_world import pair_of
from harness.backends.backend import Part
from harness.backends.kubernetes.detect import Found, has_canaries, tag
from harness.backends.kubernetes.install import Crashed, crashed, has_condition, missing_image, with_ca
from harness.backends.kubernetes.port_forward import announced
from harness.backends.kubernetes.runspace import label_of, namespace_document, short
from harness.backends.kubernetes.world import RUN_LABEL, WorldOptions
from harness.backends.session import check, namespaces
from harness.errors import ConfigError
from harness.load.remote import is_loopback

WHOLE = Found(
    "v1.34.4",
    "v1.6.1",
    "v1.9.1",
    "v0.20.0",
    canaries=True,
    gateway=True,
    serving=True,
    prometheus=True,
    alertmanager=True,
    resource_metrics=True,
    trainer=True,
)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (WorldOptions("cloud"), "--backend: expected one of embedded, containers, kind, kubernetes, got 'cloud'"),
        (WorldOptions("kubernetes"), "--backend kubernetes: needs --context NAME"),
        (WorldOptions("kind", context="prod"), "--context: is for --backend kubernetes, but the backend is kind"),
        (WorldOptions("kind", install=True), "--install: is for --backend kubernetes"),
        (WorldOptions("kubernetes", context="c", reuse=True), "--reuse: is for --backend kind or containers, but"),
        (WorldOptions("embedded", reuse=True), "--reuse: is for --backend kind or containers, but"),
    ],
)
def test_flags_that_make_no_sense_are_one_line(options: WorldOptions, told: str) -> None:
    """Above all, the current context of a kubeconfig is never used unnamed."""
    with pytest.raises(ConfigError) as caught:
        check(options)
    assert told in caught.value.message
    assert caught.value.exit_code == 2


def test_namespaces_are_pairs() -> None:
    """Scenarios' names on the left, the cluster's on the right."""
    assert namespaces("production=a,staging=b") == {"production": "a", "staging": "b"}
    assert namespaces(None) == {}


@pytest.mark.parametrize("text", ["production", "production=", "=a", "production=A_b"])
def test_a_wrong_pair_of_namespaces_is_shown(text: str) -> None:
    """The user sees the part that is wrong."""
    with pytest.raises(ConfigError, match="--namespaces: expected NAME=NAMESPACE"):
        namespaces(text)


def test_a_pair_on_the_command_line_has_two_halves() -> None:
    """As for the plug-in's option."""
    assert pair_of("production=a") == ("production", "a")
    with pytest.raises(ConfigError):
        pair_of("production")


def test_a_cluster_that_has_all_lacks_nothing() -> None:
    """Then nothing needs to be installed."""
    assert WHOLE.lacks() == {}
    assert WHOLE.components() == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"kserve": ""}, "KServe is missing: 0.20 or later is needed"),
        ({"kserve": "v0.15.0", "canaries": False}, "KServe v0.15.0 is too old: 0.20 or later is needed"),
        ({"envoy_gateway": ""}, "Envoy Gateway is missing"),
        ({"gateway": False}, "the Gateway rehearsal-system/rehearsal is missing"),
    ],
)
def test_what_serving_lacks_is_told_in_a_line(change: dict[str, Any], told: str) -> None:
    """Missing and too old are told apart."""
    assert told in replace(WHOLE, **change).lacks()[Part.SERVING]


def test_only_what_is_missing_is_installed() -> None:
    """--install leaves alone what there is."""
    assert replace(WHOLE, gateway=False, prometheus=False).components() == ["gateway", "prometheus"]


def test_autoscaling_needs_the_api_of_resource_metrics() -> None:
    """A part of its own: scenarios that scale nothing do without it, and --install brings it."""
    without = replace(WHOLE, resource_metrics=False)
    assert list(without.lacks()) == [Part.AUTOSCALING]
    assert "metrics.k8s.io" in without.lacks()[Part.AUTOSCALING]
    assert without.components() == ["metrics-server"]


def test_canaries_are_read_from_the_schema_that_the_server_publishes() -> None:
    """Anybody may read that; the controller's version may be hidden."""
    name = "com.github.kserve.v1beta1.InferenceService"

    def schema(**fields: Any) -> dict[str, Any]:
        return {"components": {"schemas": {name: {"properties": {"spec": {"properties": fields}}}}}}

    assert has_canaries(schema(predictor={}, canary={}))
    assert not has_canaries(schema(predictor={}))
    assert not has_canaries({})


def test_a_version_is_an_image_s_tag() -> None:
    """With or without a registry's port and a digest."""
    assert tag("docker.io/kserve/kserve-controller:v0.20.0") == "v0.20.0"
    assert tag("registry:5000/kserve/controller:v1@sha256:00") == "v1"
    assert tag("registry:5000/kserve/controller") == ""


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("https://127.0.0.1:6443", True),
        ("https://localhost:1", True),
        ("https://10.0.0.1:6443", False),
        ("https://k8s.example.com", False),
    ],
)
def test_load_stays_on_this_machine_where_its_cluster_is(url: str, here: bool) -> None:
    """A cluster at the loopback address is this machine's."""
    assert is_loopback(url) is here


def test_a_forward_tells_its_port() -> None:
    """kubectl chooses one that is free."""
    assert announced("Forwarding from 127.0.0.1:40123 -> 9090\nHandling connection") == 40123
    assert announced("error: no such service") is None


def test_a_run_s_namespace_is_labelled_and_restricted() -> None:
    """What a run made can be found by its label; no Pod in it may be privileged."""
    labels = namespace_document("production-1", "production", "run-1")["metadata"]["labels"]
    assert labels[RUN_LABEL] == "run-1"
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_a_run_id_becomes_a_label_and_a_name() -> None:
    """Run ids may hold what Kubernetes refuses."""
    assert label_of("_a run/" + "x" * 80).startswith("x")
    assert len(label_of("x" * 80)) == 63
    assert short("a") != short("b")


def test_a_condition_must_be_true_and_of_the_last_generation() -> None:
    """An old verdict on an older document says nothing."""
    condition = {"type": "Programmed", "status": "True", "observedGeneration": 1}
    found = {"metadata": {"generation": 1}, "status": {"conditions": [condition]}}
    assert has_condition(found, "Programmed")
    assert not has_condition({**found, "metadata": {"generation": 2}}, "Programmed")
    assert not has_condition(found, "Accepted")


def test_an_image_that_cannot_be_had_is_named() -> None:
    """Instead of a deadline that passes."""
    waiting = {"image": "a:1", "state": {"waiting": {"reason": "ErrImageNeverPull"}}}
    assert missing_image([{"status": {"containerStatuses": [waiting]}}]) == "a:1"
    assert missing_image([{"status": {"containerStatuses": [{"image": "a:1", "state": {"running": {}}}]}}]) == ""


def test_a_container_that_ends_again_and_again_is_named() -> None:
    """And one that is up by now is not."""

    def pod(restarts: int, **state: Any) -> dict[str, Any]:
        container = {"name": "c", "restartCount": restarts, "state": state}
        return {"metadata": {"name": "p", "namespace": "n"}, "status": {"containerStatuses": [container]}}

    assert crashed([pod(3, waiting={"reason": "CrashLoopBackOff"})]) == Crashed("p", "n", "c", 3)
    assert crashed([pod(2, waiting={"reason": "CrashLoopBackOff"}), pod(5, running={})]) is None


def test_webhooks_trust_our_authority() -> None:
    """Without cert-manager, whose annotation goes."""
    webhook = {"name": "w", "clientConfig": {"service": {"name": "s"}}}
    metadata = {"name": "m", "annotations": {"cert-manager.io/inject-ca-from": "x"}}
    document = {"kind": "ValidatingWebhookConfiguration", "metadata": metadata, "webhooks": [webhook]}
    trusted = with_ca(document, b"pem")
    assert trusted["webhooks"][0]["clientConfig"] == {"service": {"name": "s"}, "caBundle": "cGVt"}
    assert trusted["metadata"] == {"name": "m"}
    assert with_ca({"kind": "Service"}, b"pem") == {"kind": "Service"}
