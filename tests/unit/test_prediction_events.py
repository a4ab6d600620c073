"""What the collector takes for an event or a label, and what it refuses with a reason."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from harness.components.payload_logger import PayloadEvent, headers
from harness.components.replica import PayloadLog
from harness.prediction_log import events
from harness.prediction_log.events import Event, Malformed

NOW = 1_796_000_000.0
BODY = b'{"instances": [[1.0, null]]}'
EVENT = {
    "specversion": "1.0",
    "type": "org.kubeflow.serving.inference.response",
    "source": "http://visits.production/",
    "id": "r-1",
    "time": "2026-12-01T08:00:00.25Z",
    "inferenceservicename": "visits",
    "namespace": "production",
    "endpoint": "v2",
    "data": {"predictions": [0.5]},
}


def test_what_our_payload_logger_sends_is_an_event() -> None:
    settings = PayloadLog(
        url="http://log/", mode="all", service="visits", namespace="production", component="predictor", endpoint="",
        revision="v1",
    )  # fmt: skip
    sent = headers(PayloadEvent("request", b"r-1", BODY, NOW), settings)

    told = events.binary({name.decode(): value.decode() for name, value in sent.items()}, BODY, 0.0)

    assert told == Event("request", "production", "visits", "v1", "r-1", NOW, BODY)


def test_structured_events_carry_their_payload_as_json_or_in_base_64() -> None:
    plain = events.structured(json.dumps(EVENT).encode(), NOW)
    coded = {key: value for key, value in EVENT.items() if key != "data"}
    coded["data_base64"] = base64.b64encode(b'{"predictions": [0.5]}').decode()

    assert plain == Event("response", "production", "visits", "v2", "r-1", 1796112000.25, b'{"predictions":[0.5]}')
    assert events.structured(json.dumps(coded).encode(), NOW) == plain


def test_an_event_without_a_time_happened_now() -> None:
    assert events.from_object({**EVENT, "time": None}, NOW).at == NOW


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("specversion", "0.3", "specversion: expected 1.0, got '0.3'"),
        ("type", "org.other", "type: expected one of org.kubeflow.serving.inference.request"),
        ("source", "", "source: expected a URI"),
        ("id", "", "id: expected 1 to 256 printable characters"),
        ("id", "a\tb", "id: expected 1 to 256 printable characters"),
        ("id", "x" * 257, "id: expected 1 to 256 printable characters"),
        ("time", "yesterday", "time: expected RFC 3339"),
        ("namespace", "../etc", "namespace: expected a Kubernetes name"),
        ("inferenceservicename", "A/B", "inferenceservicename: expected a Kubernetes name"),
        ("endpoint", "a\nb", "revision: expected letters"),
        ("data", [1], "data: expected a JSON object"),
        ("data", None, "data: expected a JSON object"),
    ],
)
def test_a_malformed_event_is_refused_with_what_was_expected(field: str, value: Any, words: str) -> None:
    with pytest.raises(Malformed, match=words.replace("(", r"\(")):
        events.structured(json.dumps({**EVENT, field: value}).encode(), NOW)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe{", b"3", b"[" * 100_000])
def test_what_is_no_json_object_is_no_event(body: bytes) -> None:
    with pytest.raises(Malformed):
        events.structured(body, NOW)


def test_a_body_without_attributes_is_told_the_three_ways_to_send_one() -> None:
    with pytest.raises(Malformed, match=r"ce-specversion: expected 1\.0.*cloudevents-batch"):
        events.binary({"content-type": "application/json"}, BODY, NOW)


def test_labels_are_numbers_or_a_list_of_one_a_row() -> None:
    body = {
        "namespace": "production",
        "service": "visits",
        "labels": [{"id": "a", "label": 1}, {"id": "b", "label": [0, None], "time": "2026-12-01T08:00:00Z"}],
    }
    first, second = events.labels(json.dumps(body).encode(), NOW)

    assert (first.id, first.value, first.at) == ("a", 1, NOW)
    assert (second.id, second.value, second.at) == ("b", [0, None], 1796112000.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": []}, "expected {"),
        ({"namespace": None}, "namespace: expected a Kubernetes name"),
        ({"labels": [{"id": "a"}]}, r"labels\[0\]: expected"),
        ({"labels": [{"id": "a", "label": "yes"}]}, r"labels\[0\]\.label: expected a number"),
        ({"labels": [{"id": "a", "label": []}]}, r"labels\[0\]\.label: expected a number"),
        ({"labels": [{"id": 3, "label": 1}]}, r"labels\[0\]\.id: expected"),
    ],
)
def test_a_malformed_label_is_refused_with_what_was_expected(change: dict[str, Any], words: str) -> None:
    body = {"namespace": "production", "service": "visits", "labels": [{"id": "a", "label": 1}], **change}
    with pytest.raises(Malformed, match=words):
        events.labels(json.dumps(body).encode(), NOW)
