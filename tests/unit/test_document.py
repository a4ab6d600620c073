"""InferenceService documents: what is honoured, and how the rest is refused."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.backends import scaling
from harness.backends.backend import Capability
from harness.backends.document import parse
from harness.errors import CapabilityMissing, DocumentError

EXAMPLE = Path(__file__).resolve().parents[2] / "manifests/inferenceservice/example.yaml"
MODEL = {"modelFormat": {"name": "mlflow"}, "storageUri": "models:/risk/1"}
DOCUMENT: dict[str, Any] = {
    "apiVersion": "serving.kserve.io/v1beta1",
    "kind": "InferenceService",
    "metadata": {"name": "risk", "namespace": "production"},
    "spec": {"predictor": {"name": "v1", "model": MODEL}},
}


def edited(path: str, value: object) -> dict[str, Any]:
    """The document with `value` at a dotted path; a number is an index."""
    document = copy.deepcopy(DOCUMENT)
    document["spec"]["canary"] = [{"predictor": {"name": "v2", "model": copy.deepcopy(MODEL)}, "trafficPercent": 10}]
    place: Any = document
    *parents, last = path.split(".")
    for part in parents:
        place = place[int(part)] if part.isdigit() else place.setdefault(part, {})
    place[last] = value
    return document


def refused(document: dict[str, Any] | str) -> str:
    with pytest.raises(DocumentError) as caught:
        parse(document)
    assert "\n" not in caught.value.message
    return str(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (
            "spec.predictor.containerConcurrency",
            5,
            "spec.predictor.containerConcurrency: not honoured here (honoured: name, minReplicas,",
        ),
        ("spec.explainer", {}, "spec.explainer: not honoured here (honoured: predictor, canary, transformer)"),
        ("spec.predictor.model.args", ["x"], "spec.predictor.model.args: not honoured here"),
        ("spec.canary.0.predictor.model.gpu", 1, "spec.canary[0].predictor.model.gpu: not honoured here"),
        ("spec.predictor.model.env", [{"name": "A", "valueFrom": {}}], "spec.predictor.model.env[0].valueFrom: not"),
        ("spec.predictor.min_replicas", 2, "spec.predictor.min_replicas: not honoured here"),
        ("spec.predictor.canaryTrafficPercent", 10, "use spec.canary[].trafficPercent"),
        ("spec.predictor.maxReplicas", 0, "spec.predictor.maxReplicas: expected at least minReplicas (1), got 0"),
        ("spec.predictor.scaleTarget", 60, "spec.predictor.maxReplicas: required with scaleTarget or scaleMetric"),
        ("spec.predictor.scaleMetric", "qps", "scaleMetric: input should be 'cpu', 'memory', 'concurrency' or 'rps'"),
        ("spec.predictor.scaleMetric", "rps", "spec.predictor.maxReplicas: required with scaleTarget or scaleMetric"),
        ("spec.canary.0.predictor.maxReplicas", 4, "spec.canary[0].predictor.maxReplicas: not honoured here"),
        (
            "spec.predictor.model.resources",
            {"requests": {"cpu": "lots"}},
            "spec.predictor.model.resources.requests[cpu]: expected a quantity as 200m, 2 or 512Mi, got 'lots'",
        ),
        (
            "spec.predictor.model.resources",
            {"limits": {"nvidia.com/gpu": "500m"}},
            "spec.predictor.model.resources.limits[nvidia.com/gpu]: expected a whole number of devices, got '500m'",
        ),
        (
            "spec.predictor.model.resources",
            {"requests": {"nvidia.com/gpu": 1}, "limits": {"nvidia.com/gpu": 2}},
            "spec.predictor.model.resources.requests[nvidia.com/gpu]: must be the limit (2), got 1",
        ),
        (
            "metadata.annotations",
            {"serving.kserve.io/autoscalerClass": "keda"},
            "metadata.annotations[serving.kserve.io/autoscalerClass]: expected hpa or none, got 'keda'",
        ),
        ("spec.predictor.minReplicas", -1, "spec.predictor.minReplicas: expected at least 0, got -1"),
        ("spec.predictor.minReplicas", 0, "spec.predictor.maxReplicas: required with minReplicas 0"),
        ("spec.predictor.minReplicas", 0, "minReplicas: expected at least 1 with the metric cpu, of which no replica"),
        ("spec.canary.0.predictor.minReplicas", 0, "minReplicas: expected at least 1, as the predictor has, got 0"),
        (
            "spec.predictor.model.resources",
            {"requests": {"ephemeral-storage": "1Gi"}},
            "requests[ephemeral-storage]: expected cpu, memory or an extended resource such as nvidia.com/gpu",
        ),
        ("spec.predictor.minReplicas", "2", "spec.predictor.minReplicas: input should be a valid integer, got '2'"),
        ("spec.predictor.model.modelFormat.name", "onnx", "modelFormat.name: input should be 'mlflow' or 'sklearn'"),
        ("spec.canary.0.trafficPercent", 101, "spec.canary[0].trafficPercent: expected 0 to 100, got 101"),
        ("spec.canary.0.predictor.name", "v1", "spec.canary[0].predictor.name: must differ from spec.predictor.name"),
        ("spec.canary.0.predictor.timeout", 5, "spec.canary[0].predictor.timeout: one route serves both"),
        ("metadata.name", "Risk_1", "metadata.name: expected a DNS-1123 label"),
        ("spec.transformer", {"containers": [{"args": ["x"]}]}, 'args: expected ["module:Class"]'),
        ("apiVersion", "serving.kserve.io/v1", "apiVersion: input should be 'serving.kserve.io/v1beta1'"),
    ],
)
def test_what_is_not_honoured_is_refused_by_its_field_path(path: str, value: object, told: str) -> None:
    """One line, the full path, and what is honoured instead."""
    assert told in refused(edited(path, value))


@pytest.mark.parametrize(
    ("annotations", "percent", "told"),
    [
        (
            {"rehearsal.dev/mirror": "10"},
            0,
            "[rehearsal.dev/mirror]: not honoured here (honoured: rehearsal.dev/mirror-",
        ),
        ({"rehearsal.dev/mirror-percent": "0"}, 0, 'mirror-percent]: expected "1" to "100", got \'0\''),
        ({"rehearsal.dev/mirror-percent": "all"}, 0, 'mirror-percent]: expected "1" to "100", got \'all\''),
        ({"rehearsal.dev/mirror-percent": "50"}, 10, "a canary with copies gets no traffic: expected trafficPercent 0"),
        ({"rehearsal.dev/split-by": "x-user-id"}, 10, 'split-by]: expected "user <header>" or "header <name>=<value>"'),
        ({"rehearsal.dev/split-by": "user X-User"}, 10, "names in lower case, got 'user X-User'"),
        (
            {"rehearsal.dev/split-by": "header a=b"},
            10,
            "a header alone decides: expected spec.canary[0].trafficPercent 0",
        ),
        (
            {"rehearsal.dev/split-by": "user u", "rehearsal.dev/mirror-percent": "1"},
            0,
            "a canary gets copies or requests of its own",
        ),
    ],
)
def test_what_an_annotation_may_not_say_is_refused_by_its_name(
    annotations: dict[str, str], percent: int, told: str
) -> None:
    """One line; an annotation of ours that means nothing is never ignored."""
    document = edited("spec.canary.0.trafficPercent", percent)
    document["metadata"]["annotations"] = annotations
    assert told in refused(document)


def test_an_annotation_without_the_canary_that_it_is_about_is_refused() -> None:
    """Somebody else's annotation is kept as it is."""
    document = copy.deepcopy(DOCUMENT)
    document["metadata"]["annotations"] = {"rehearsal.dev/mirror-percent": "50", "example.com/owner": "risk"}
    assert "[rehearsal.dev/mirror-percent]: expected exactly one canary in spec.canary, got 0" in refused(document)
    del document["metadata"]["annotations"]["rehearsal.dev/mirror-percent"]
    assert parse(document).metadata.annotations == {"example.com/owner": "risk"}


def test_the_end_of_a_canary_is_the_end_of_how_it_got_its_requests() -> None:
    """Rolled back or promoted, or replaced by another: neither copies nor a split are left over."""
    plain = parse(DOCUMENT)
    canary = plain.with_canary("v2", "models:/risk/2", 0)
    for changed in (canary.with_mirror(50), canary.with_split_by("header a=b"), canary.with_split_by("user id")):
        assert parse(changed.to_dict()) == changed
        assert changed.without_canary("v2") == plain
        assert changed.promoted("v2").metadata == plain.metadata
        assert changed.with_canary("v2", "models:/risk/2", 0) == canary
    assert canary.with_mirror(50).with_mirror(0) == canary
    assert canary.with_split_by("user id").with_split_by("") == canary


def test_a_logger_is_that_of_every_revision() -> None:
    """Answers of the baseline and the canary are compared; without it the document is what it was."""
    canary = parse(DOCUMENT).with_canary("v2", "models:/risk/2", 0)
    spec = canary.with_logger("http://127.0.0.1:1/").spec
    assert spec.predictor.logger == spec.canary[0].predictor.logger
    assert spec.predictor.logger is not None
    assert spec.predictor.logger.mode == "response"
    assert canary.with_logger("http://127.0.0.1:1/").without_logger() == canary


def test_every_offending_field_is_named_at_once() -> None:
    """A user corrects a document once, not once for each field."""
    document = edited("spec.predictor.nodeSelector", {})
    document["spec"]["predictor"]["model"]["storage"] = {}
    document["spec"]["canary"][0]["weight"] = 3
    told = refused(document)
    assert all(
        path in told
        for path in ("spec.predictor.nodeSelector", "spec.predictor.model.storage", "spec.canary[0].weight")
    )


def test_the_shares_of_all_canaries_add_up_to_at_most_a_hundred() -> None:
    """Two canaries of 60 % each cannot be."""
    document = edited("spec.canary.0.trafficPercent", 60)
    document["spec"]["canary"].append({"predictor": {"name": "v3", "model": MODEL}, "trafficPercent": 60})
    assert "expected a sum of at most 100, got 120" in refused(document)


def test_two_canaries_of_one_name_are_refused() -> None:
    """A revision's name is its identity."""
    document = edited("spec.canary.0.trafficPercent", 10)
    document["spec"]["canary"].append(copy.deepcopy(document["spec"]["canary"][0]))
    assert "spec.canary[1].predictor.name: must differ from spec.canary[0].predictor.name" in refused(document)


def test_a_document_survives_the_way_to_kubernetes_and_back() -> None:
    """to_dict gives what parse took, so the same document can be applied elsewhere."""
    document = parse(edited("spec.predictor.logger", {"mode": "request", "url": "http://127.0.0.1:1/"}))
    assert parse(document.to_dict()) == document
    assert parse(yaml.safe_dump(document.to_dict())) == document
    assert document.to_dict()["spec"]["canary"][0]["predictor"]["minReplicas"] == 1


def test_the_example_manifest_is_honoured() -> None:
    """manifests/ holds what the documentation shows."""
    assert parse(EXAMPLE).host == "high-utiliser-production.example.com"


def test_promotion_is_the_canarys_predictor_under_its_own_name() -> None:
    """As upstream KServe: spec.predictor.name is the canary's name, the entry is gone, the model is the same."""
    canary = parse(DOCUMENT).with_canary("v2", "models:/risk/2", 10)
    promoted = canary.with_traffic("v2", 100).promoted("v2")
    assert promoted.spec.predictor.name == "v2"
    assert promoted.spec.predictor.model.storage_uri == "models:/risk/2"
    assert promoted.spec.canary == []


def test_rollback_is_the_document_without_the_canary() -> None:
    """Dropping the entry gives the document from before."""
    assert parse(DOCUMENT).with_canary("v2", "models:/risk/2", 10).without_canary("v2") == parse(DOCUMENT)


def test_an_edit_of_an_unknown_canary_names_the_known_ones() -> None:
    """A typing error in a canary's name is a one-line error."""
    with pytest.raises(DocumentError, match="no canary 'v3'; its canaries: v2"):
        parse(DOCUMENT).with_canary("v2", "models:/risk/2", 10).with_traffic("v3", 50)


def test_an_edit_is_checked_like_a_document() -> None:
    """A weight of 120 is refused whichever way it comes."""
    with pytest.raises(DocumentError, match="expected 0 to 100"):
        parse(DOCUMENT).with_canary("v2", "models:/risk/2", 120)


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2\n", "nothing\n"])
def test_text_that_is_no_document_is_refused_in_one_line(text: str) -> None:
    """Broken YAML, a list, a word."""
    assert refused(text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The path is in the message."""
    with pytest.raises(DocumentError, match=r"absent\.yaml: cannot read the document: No such file"):
        parse(tmp_path / "absent.yaml")


def test_a_size_to_scale_to_stays_with_the_service_when_its_canary_is_promoted() -> None:
    """A canary may not say maxReplicas or scaleTarget, so that its promotion must not lose them."""
    document = parse(edited("metadata.name", "risk")).without_canary("v2").with_autoscaling(5, target=60)
    promoted = document.with_canary("v3", "models:/risk/3", 10).promoted("v3")
    assert promoted.to_dict()["spec"]["predictor"] | {"model": {}} == {
        "name": "v3", "minReplicas": promoted.spec.predictor.min_replicas, "maxReplicas": 5, "scaleTarget": 60,
        "scaleMetric": "cpu", "model": {},
    }  # fmt: skip


def test_what_only_a_cluster_can_do_is_a_missing_capability_with_how_to_get_it() -> None:
    plain = parse(edited("metadata.name", "risk"))
    missing = {Capability.AUTOSCALING: "use a cluster", Capability.RESOURCES: "use another"}
    scaling.require(plain, missing)
    scaling.require(plain.with_autoscaling(5), {})
    for document, told in (
        (plain.with_autoscaling(5), "autoscaling Hint: use a cluster"),
        (plain.with_resources(limits={"nvidia.com/gpu": 1}), "resource requests Hint: use another"),
    ):
        with pytest.raises(CapabilityMissing) as caught:
            scaling.require(document, missing)
        assert str(caught.value) == told
