"""What comes in: CloudEvents of KServe's payload logger, binary, structured or in batches, and ground truth. Pure."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

REQUEST, RESPONSE, LABEL = "request", "response", "label"
TYPES = {
    "org.kubeflow.serving.inference.request": REQUEST,
    "org.kubeflow.serving.inference.response": RESPONSE,
}
STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
MOST_ID = 256
"""Characters of an id."""
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?").fullmatch
_REVISION = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?").fullmatch


class Malformed(ValueError):
    """The sender's fault: what is wrong, where, and what would be right."""


@dataclass(frozen=True, slots=True)
class Event:
    """One request or response of a service; `at` in Unix seconds, `body` the JSON as it was sent."""

    kind: str
    namespace: str
    service: str
    revision: str
    id: str
    at: float
    body: bytes

    @property
    def key(self) -> str:
        """What makes an event the same as another."""
        return f"{self.kind}/{self.namespace}/{self.service}/{self.id}"


@dataclass(frozen=True, slots=True)
class Label:
    """The ground truth of one request: a number, or for a request of several rows a list of them, null if unknown."""

    namespace: str
    service: str
    id: str
    at: float
    value: Any

    def event(self) -> Event:
        """As the log keeps it."""
        return Event(LABEL, self.namespace, self.service, "", self.id, self.at, json.dumps(self.value).encode())


def binary(headers: Mapping[str, str], body: bytes, now: float) -> Event:
    """An event whose attributes are ce-* headers (names in lower case) and whose data is the body."""
    if "ce-specversion" not in headers:
        raise Malformed(f"ce-specversion: expected 1.0, there is none; or send content-type {STRUCTURED} or {BATCH}")
    attributes = {name[3:]: value for name, value in headers.items() if name.startswith("ce-")}
    try:
        data = json.loads(body)
    except ValueError as error:
        raise Malformed(f"body: expected a JSON object, got {_short(body)}: {error}") from None
    return _event(attributes, data, body, now)


def structured(body: bytes, now: float) -> Event:
    """An event that is one JSON object, its payload in "data" or "data_base64"."""
    return from_object(_json(body), now)


def batch(body: bytes) -> list[Any]:
    """The objects of a batch, each for `from_object`: one that is malformed does not spoil the others."""
    objects = _json(body)
    if not isinstance(objects, list):
        raise Malformed(f"{BATCH}: expected an array of events, got {type(objects).__name__}")
    return objects


def from_object(given: Any, now: float) -> Event:
    """An event out of its JSON object."""
    if not isinstance(given, dict):
        raise Malformed(f"expected a CloudEvent as a JSON object, got {_short(given)}")
    data = given.get("data")
    if "data_base64" in given:
        try:
            data = json.loads(base64.b64decode(given["data_base64"], validate=True))
        except (ValueError, TypeError):
            raise Malformed("data_base64: expected a JSON object in base 64") from None
    attributes = {name: value for name, value in given.items() if isinstance(value, str)}
    return _event(attributes, data, json.dumps(data, separators=(",", ":")).encode(), now)


def labels(body: bytes, now: float) -> list[Label]:
    """Ground truth: {"namespace", "service", "labels": [{"id", "label", "time"?}, ...]}."""
    given = _json(body)
    entries = given.get("labels") if isinstance(given, dict) else None
    if not isinstance(entries, list) or not entries:
        raise Malformed('expected {"namespace": …, "service": …, "labels": [{"id": …, "label": …}, …]}')
    namespace, service = _name(given, "namespace"), _name(given, "service")
    return [_label(entry, f"labels[{index}]", namespace, service, now) for index, entry in enumerate(entries)]


def _label(entry: Any, where: str, namespace: str, service: str, now: float) -> Label:
    if not isinstance(entry, dict) or "label" not in entry:
        raise Malformed(f'{where}: expected {{"id": …, "label": …}}, got {_short(entry)}')
    value = entry["label"]
    flat = value if isinstance(value, list) else [value]
    if not flat or not all(each is None or isinstance(each, int | float) for each in flat):
        raise Malformed(f"{where}.label: expected a number, or a list of a number or null a row, got {_short(value)}")
    return Label(namespace, service, _id(entry.get("id"), f"{where}.id"), _time(entry.get("time"), now), value)


def _event(attributes: Mapping[str, str], data: Any, body: bytes, now: float) -> Event:
    if attributes.get("specversion") != "1.0":
        raise Malformed(f"specversion: expected 1.0, got {_short(attributes.get('specversion'))}")
    kind = TYPES.get(attributes.get("type", ""))
    if kind is None:
        raise Malformed(f"type: expected one of {', '.join(TYPES)}, got {_short(attributes.get('type'))}")
    if not attributes.get("source"):
        raise Malformed("source: expected a URI, there is none")
    if not isinstance(data, dict):
        raise Malformed(f"data: expected a JSON object (a V1 or V2 payload), got {_short(data)}")
    revision = attributes.get("revision") or attributes.get("endpoint") or ""
    if revision and not _REVISION(revision):
        raise Malformed(f"revision: expected letters, digits and . _ -, got {_short(revision)}")
    return Event(
        kind,
        _name(attributes, "namespace"),
        _name(attributes, "inferenceservicename"),
        revision,
        _id(attributes.get("id"), "id"),
        _time(attributes.get("time"), now),
        body,
    )


def _name(given: Mapping[str, Any], field: str) -> str:
    value = given.get(field)
    if not isinstance(value, str) or not _NAME(value):
        raise Malformed(f"{field}: expected a Kubernetes name (a-z, 0-9 and -, at most 63), got {_short(value)}")
    return value


def _id(value: Any, field: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MOST_ID or not value.isprintable():
        raise Malformed(f"{field}: expected 1 to {MOST_ID} printable characters, got {_short(value)}")
    return value


def _time(value: Any, now: float) -> float:
    """Unix seconds; without one it happened now."""
    if value is None:
        return now
    try:
        return datetime.fromisoformat(value).timestamp()
    except (ValueError, TypeError, OverflowError, OSError):
        raise Malformed(f"time: expected RFC 3339 such as 2026-12-01T08:00:00Z, got {_short(value)}") from None


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"body: expected JSON: {error}") from None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
