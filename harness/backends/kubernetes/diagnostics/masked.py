"""Objects of a cluster without what is secret in them: values only, so that names of Secrets can still be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.runtime.redact import MASK, redact, redact_text

_NOISE = ("managedFields", "kubectl.kubernetes.io/last-applied-configuration")
_REFERENCES = (
    "secretKeyRef", "secretRef", "secretName", "secret", "secrets", "imagePullSecrets", "serviceAccountToken",
    "configMapKeyRef", "certificateRefs", "key",
)  # fmt: skip
"""Fields that name a Secret, or a key in one."""
_BINARY = ("caBundle", "inlineBytes", "inline_bytes")


def masked(found: Mapping[str, Any]) -> dict[str, Any]:
    """A copy for readers: of a Secret only its keys, no values under a secret's name, no noise of bookkeeping."""
    copy: dict[str, Any] = _masked(found)
    if found.get("kind") == "Secret":
        for part in ("data", "stringData"):
            if part in copy:
                copy[part] = dict.fromkeys(found[part], MASK)
    return copy


def _masked(value: Any, name: str = "") -> Any:
    if isinstance(value, Mapping):
        if set(value) == {"name", "value"}:
            return _variable(value)
        return {key: _field(key, item) for key, item in value.items() if key not in _NOISE}
    if isinstance(value, list | tuple):
        return [_item(value, place, name) for place in range(len(value))]
    return redact({name: value})[name] if name else redact(value)


def _field(key: str, value: Any) -> Any:
    if key in _BINARY and value:
        return f"<{len(str(value))} characters>"
    return _masked(value, "" if key in _REFERENCES else key)


def _item(items: Sequence[Any], place: int, name: str) -> Any:
    """An entry of a list; in a command line, the value of the flag before it."""
    before, value = items[place - 1] if place else "", items[place]
    if isinstance(before, str) and isinstance(value, str) and before.startswith("-") and "=" not in before:
        return redact({before.lstrip("-"): value})[before.lstrip("-")]
    return _masked(value, name)


def _variable(variable: Mapping[str, Any]) -> dict[str, Any]:
    """An environment variable, or a header: what its name says of its value is in another field."""
    name, value = str(variable["name"]), variable["value"]
    return {"name": redact_text(name), "value": redact({name: value})[name]}
