"""Policies as TOML tables: `kind`, the fields of the policy, and tables for its SLO and its standard."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from harness.errors import ConfigError
from harness.lifecycle.rollout.actions import By, ByHeader, ByUser
from harness.lifecycle.rollout.policy import ABTest, BlueGreen, Canary, Policy, Shadow
from harness.lifecycle.slo import SLO
from harness.lifecycle.verdict import Standard
from harness.runtime.tables import read_toml, unknown_key

KINDS: dict[str, type[Policy]] = {"canary": Canary, "ab": ABTest, "blue-green": BlueGreen, "shadow": Shadow}
_OPTIONAL = ("min_agreement", "prediction_shift")


def load_policy(path: Path | str) -> Policy:
    """The policy in a TOML file; ConfigError, in one line with the field, for one that makes no sense."""
    file = Path(path)
    return parse_policy(read_toml(file, hint="manifests/policies has one of each kind."), str(file))


def parse_policy(table: Mapping[str, Any], where: str) -> Policy:
    """The policy that a table describes; `where` names its source in errors."""
    kind = table.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ConfigError(f"{where}: kind: expected {', '.join(KINDS)}{_nearest(kind)}, got {kind!r}")
    policy = KINDS[kind]
    allowed = [field.name for field in fields(policy) if field.name != "_"]
    try:
        _check_keys("", table, allowed)
        return policy(**{key: _value(key, value) for key, value in table.items() if key != "kind"})
    except ConfigError as error:
        told = error.message.removeprefix(f"{kind}.")
        raise ConfigError(f"{where}: {told}", hint=error.hint) from None


def _value(key: str, value: Any) -> Any:
    if key == "slo":
        return SLO(**_table("slo", value, SLO))
    if key == "standard":
        return Standard(**_table("standard", value, Standard))
    if key == "by":
        return _by(value)
    if key in _OPTIONAL and value is False:
        return None
    return tuple(value) if isinstance(value, list) else value


def _table(key: str, value: Any, kind: type) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{key}: expected a table of keys, got {value!r}")
    _check_keys(f"{key}.", value, [field.name for field in fields(kind)])
    return value


def _by(value: Any) -> By:
    match value:
        case {"user": str(header), **rest} if header and not rest:
            return ByUser(header)
        case {"header": str(name), "value": str(text), **rest} if name and text and not rest:
            return ByHeader(name, text)
    forms = '{ user = "x-user-id" } or { header = "x-variant", value = "b" }'
    raise ConfigError(f"by: expected {forms}, got {value!r}")


def _check_keys(prefix: str, table: Mapping[str, Any], allowed: list[str]) -> None:
    for key in table:
        if key not in allowed:
            raise ConfigError(unknown_key(f"{prefix}{key}", key, allowed))


def _nearest(kind: object) -> str:
    close = difflib.get_close_matches(str(kind), KINDS, n=1)
    return f" (did you mean {close[0]}?)" if close else ""
