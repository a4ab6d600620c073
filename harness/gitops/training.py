"""What a repository says of a service's training: training/<service>.toml. Pure."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

from harness.errors import ConfigError
from harness.gitops.overlays import Files

FOLDER = "training"
_KEYS = {"estimator", "trials", "params", "data"}
_DATA_KEYS = {"file", "target", "task", "threshold", "positive", "slices", "ignore"}


def training_of(files: Files, service: str) -> dict[str, Any]:
    """What the repository says of a service's training; ConfigError, in one line, for what makes no sense."""
    path = f"training/{service}.toml"
    if path not in files:
        raise ConfigError(f"{path}: no such file; it says what the pipeline trains (estimator, trials, params, data)")
    try:
        found = tomllib.loads(files[path])
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    for line in _wrong(found):
        raise ConfigError(f"{path}: {line}")
    return found


def _wrong(found: dict[str, Any]) -> Iterator[str]:
    if unknown := sorted(set(found) - _KEYS):
        yield f"unknown key {unknown[0]}; allowed: {', '.join(sorted(_KEYS))}"
    for name in ("params", "data"):
        if not isinstance(found.get(name, {}), dict):
            yield f"{name}: expected a table, got {found[name]!r}"
            return
    data = found.get("data", {})
    if unknown := sorted(set(data) - _DATA_KEYS):
        yield f"data: unknown key {unknown[0]}; allowed: {', '.join(sorted(_DATA_KEYS))}"
    if data and "file" not in data:
        yield "data: file: required"
    if ".." in str(data.get("file", "")).split("/") or str(data.get("file", "")).startswith("/"):
        yield f"data: file: expected a path in the repository, got {data['file']!r}"
