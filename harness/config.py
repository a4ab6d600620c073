"""rehearsal.toml and the flags that override it, as one frozen Settings object that prints as JSON.

Nothing here opens the data file: what a file or a flag says is checked for its own sake, and a mistake is one line that
names the place, the allowed values and what was found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from harness._settings import (
    SECTIONS,
    CardSettings,
    ChecksSettings,
    ClusterSettings,
    DataSettings,
    GateSettings,
    LoadSettings,
    RolloutSettings,
    RunSettings,
    Settings,
    SLOSettings,
    TrainSettings,
    expected_words,
)
from harness.errors import ConfigError
from harness.lifecycle.rollout import untestable
from harness.lifecycle.slo import SLO
from harness.runtime.tables import read_toml, unknown_key

__all__ = [
    "DATA_SUFFIXES",
    "FILE_NAME",
    "FLAGS",
    "SECTIONS",
    "CardSettings",
    "ChecksSettings",
    "ClusterSettings",
    "DataSettings",
    "GateSettings",
    "LoadSettings",
    "RolloutSettings",
    "RunSettings",
    "SLOSettings",
    "Settings",
    "TrainSettings",
    "expected_words",
    "load_settings",
]

FILE_NAME = "rehearsal.toml"
DATA_SUFFIXES = (".csv", ".parquet")


FLAGS: dict[str, tuple[str, str]] = {
    "--name": ("run", "name"),
    "--backend": ("run", "backend"),
    "--reports": ("run", "reports"),
    "--context": ("cluster", "context"),
    "--kubeconfig": ("cluster", "kubeconfig"),
    "--namespaces": ("cluster", "namespaces"),
    "--install": ("cluster", "install"),
    "--keep": ("cluster", "keep"),
    "--reuse": ("cluster", "reuse"),
    "--allow-remote": ("cluster", "allow_remote"),
    "--image-prefix": ("cluster", "image_prefix"),
    "--data": ("data", "file"),
    "--target": ("data", "target"),
    "--task": ("data", "task"),
    "--threshold": ("data", "threshold"),
    "--positive": ("data", "positive"),
    "--train": ("train", "entry"),
    "--policy": ("rollout", "policy"),
    "--checks": ("checks", "file"),
}


def load_settings(config: Path | None = None, flags: Mapping[str, Any] | None = None) -> Settings:
    """The settings of `config` (else of ./rehearsal.toml, if it is there) with `flags` ("--data": value) merged over.

    Paths of the file are relative to the file, paths of flags to the current folder. Raises ConfigError.
    """
    path = config or (Path(FILE_NAME) if Path(FILE_NAME).is_file() else None)
    table = read_toml(path, hint="docs/configuration.md shows one.") if path else {}
    _check_keys(table, path)
    root = path.absolute().parent if path else Path.cwd()
    _resolve(table, root)
    given = {flag: value for flag, value in (flags or {}).items() if value is not None}
    for flag, value in given.items():
        section, key = FLAGS[flag]
        table.setdefault(section, {})[key] = value
    _resolve(table, Path.cwd())
    where = _Places(path, given)
    try:
        settings = Settings.model_validate({**table, "file": path, "root": root})
    except ValidationError as error:
        raise ConfigError(where.message(error.errors()[0])) from None
    _check_together(settings, where)
    return settings


@dataclass(frozen=True)
class _Places:
    """Says where a value came from, as its user wrote it."""

    path: Path | None
    flags: Mapping[str, Any]

    def name(self, section: str, key: str) -> str:
        for flag in self.flags:
            if FLAGS[flag] == (section, key):
                return flag
        return f"{_shown(self.path)}: [{section}] {key}"

    def message(self, error: ErrorDetails) -> str:
        section, *keys = (str(part) for part in error["loc"])
        if not keys:
            return f"{_shown(self.path)}: [{section}]: expected a table of keys, got {_value(error['input'])}"
        words = expected_words(SECTIONS[section], keys[0])
        return f"{self.name(section, keys[0])}: expected {words}, got {_value(error['input'])}"

    def wrong(self, section: str, key: str, words: str) -> ConfigError:
        return ConfigError(f"{self.name(section, key)}: {words}")


def _shown(path: Path | None) -> str:
    return str(path) if path else "flags"


def _value(value: object) -> str:
    """A value as TOML writes it, shortened."""
    if isinstance(value, bool):
        return str(value).lower()
    text = f'"{value}"' if isinstance(value, str | Path) else repr(value)
    return text if len(text) <= 80 else f"{text[:76]}..."


def _check_keys(table: dict[str, Any], path: Path | None) -> None:
    for section, keys in table.items():
        if section not in SECTIONS:
            raise ConfigError(f"{_shown(path)}: {unknown_key(f'[{section}]', section, SECTIONS)}")
        for key in keys if isinstance(keys, dict) else ():
            if key not in SECTIONS[section].model_fields:
                what = unknown_key(f"[{section}] {key}", key, SECTIONS[section].model_fields)
                raise ConfigError(f"{_shown(path)}: {what}")


def _resolve(table: dict[str, Any], root: Path) -> None:
    for section, key in (
        ("data", "file"),
        ("run", "reports"),
        ("rollout", "policy"),
        ("checks", "file"),
        ("cluster", "kubeconfig"),
    ):
        values = table.get(section)
        if isinstance(values, dict) and isinstance(values.get(key), str) and values[key]:
            values[key] = str(root / Path(values[key]).expanduser())


def _check_together(settings: Settings, where: _Places) -> None:
    data = settings.data
    if data.file is None:
        for key in sorted(data.model_fields_set - {"file"}):
            if getattr(data, key) is not None:
                raise where.wrong("data", key, "needs a data file: [data] file, or --data FILE")
    else:
        _check_data_file(data.file, where)
        if data.target is None:
            raise where.wrong("data", "file", "needs the column to predict: [data] target, or --target COLUMN")
    for key in ("threshold", "positive") if data.task == "regression" else ():
        if getattr(data, key) is not None:
            raise where.wrong("data", key, "is for classification, but the task is regression")
    _check_slo(settings.slo, where)
    steps = settings.load.steps
    if list(steps) != sorted(set(steps)) or steps[-1] != 100:
        words = expected_words(LoadSettings, "steps")
        raise where.wrong("load", "steps", f"expected {words}, got {list(steps)}")
    _check_policy(settings, where)
    _ = settings.model_checks


def _check_policy(settings: Settings, where: _Places) -> None:
    said_twice = [("slo", key) for key in sorted(settings.slo.model_fields_set)]
    said_twice += [("load", key) for key in ("steps", "step_deadline_s") if key in settings.load.model_fields_set]
    if settings.rollout.policy is not None and said_twice:
        raise where.wrong(*said_twice[0], f"the policy {settings.rollout.policy} has its own; say it there alone")
    if problem := untestable(settings.policy, settings.load.rps):
        raise ConfigError(f"{settings.rollout.policy or _shown(where.path)}: {problem}")


def _check_slo(slo: SLOSettings, where: _Places) -> None:
    try:
        SLO(**slo.model_dump())
    except ConfigError as error:
        key, _, reason = error.message.removeprefix("slo.").partition(": ")
        raise where.wrong("slo", key, reason) from None


def _check_data_file(file: Path, where: _Places) -> None:
    if not file.is_file():
        raise where.wrong("data", "file", f"no such file: {file}")
    if file.suffix.lower() not in DATA_SUFFIXES:
        allowed = " or ".join(DATA_SUFFIXES)
        raise where.wrong("data", "file", f"expected a file that ends with {allowed}, got {_value(file.name)}")
