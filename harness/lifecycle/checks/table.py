"""Checks as TOML: a [[check]] table each with its `kind`, and cases beside it as [[case]] tables of a file."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, asdict, fields
from pathlib import Path
from typing import Any

from harness.errors import ConfigError
from harness.lifecycle.checks.behaviour import Case, Direction, Invariance, MinimumFunctionality
from harness.lifecycle.checks.consumers import Consumers
from harness.lifecycle.checks.robustness import Robustness
from harness.lifecycle.checks.serving import Latency, Size, Skew
from harness.lifecycle.checks.slices import Slice
from harness.runtime.tables import read_toml, unknown_key

Check = Invariance | Direction | MinimumFunctionality | Slice | Robustness | Skew | Latency | Size | Consumers
KINDS: dict[str, type[Check]] = {
    each.kind: each
    for each in (Invariance, Direction, MinimumFunctionality, Slice, Robustness, Skew, Latency, Size, Consumers)
}
_HINT = "manifests/checks has one."


def load_checks(path: Path | str) -> tuple[Check, ...]:
    """The checks of a TOML file; ConfigError, in one line with the check and the field, for one that makes no sense."""
    file = Path(path)
    return parse_checks(read_toml(file, hint=_HINT), str(file), file.absolute().parent)


def parse_checks(table: Mapping[str, Any], where: str, folder: Path) -> tuple[Check, ...]:
    """The checks that a document describes; case files are relative to `folder`, `where` names it in errors."""
    for key in table:
        if key != "check":
            raise ConfigError(f"{where}: {unknown_key(key, key, ['check'])}")
    found = table.get("check")
    if not isinstance(found, list) or not found or not all(isinstance(each, dict) for each in found):
        raise ConfigError(f"{where}: expected at least one [[check]] table", hint=_HINT)
    checks = tuple(_check(each, f"{where}: check {number}", folder) for number, each in enumerate(found, 1))
    labels = [check.label for check in checks]
    if twice := next((label for label in labels if labels.count(label) > 1), None):
        raise ConfigError(f"{where}: two checks are called {twice!r}; give one of them another name")
    return checks


def as_table(check: Check) -> dict[str, Any]:
    """A check as the table that `parse_checks` reads it from."""
    values = _given(asdict(check))
    if isinstance(check, MinimumFunctionality):
        values["case"] = [_given(each) for each in values.pop("cases")]
    return {"kind": check.kind, **values}


def require_columns(checks: Iterable[Check], known: Sequence[str]) -> None:
    """ConfigError for a check of a column that the data does not have."""
    for check in checks:
        for column in check.columns:
            if column not in known:
                close = difflib.get_close_matches(column, known, n=1)
                guess = f"did you mean {close[0]}? " if close else ""
                raise ConfigError(
                    f"check {check.label!r}: unknown column {column!r}; {guess}Columns: {', '.join(map(str, known))}"
                )


def _check(table: Mapping[str, Any], where: str, folder: Path) -> Check:
    kind = table.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        close = difflib.get_close_matches(str(kind), KINDS, n=1)
        guess = f" (did you mean {close[0]}?)" if close else ""
        raise ConfigError(f"{where}: kind: expected {', '.join(KINDS)}{guess}, got {kind!r}")
    values = {key: _plain(value) for key, value in table.items() if key != "kind"}
    where = f"{where} ({kind})"
    try:
        if kind == MinimumFunctionality.kind:
            values["cases"] = _cases(values, folder)
        _require_fields(KINDS[kind], values)
        return KINDS[kind](**values)
    except ConfigError as error:
        told = error.message.removeprefix(f"{kind}.").removeprefix(f"{kind}: ")
        raise ConfigError(f"{where}: {told}", hint=error.hint) from None


def _require_fields(check: type[Any], values: Mapping[str, Any], what: str = "") -> None:
    """ConfigError for a key that is unknown, missing, or of a type that the field is not."""
    known = {field.name: field for field in fields(check)}
    for key in values:
        if key not in known:
            raise ConfigError(f"{what}{unknown_key(key, key, known)}")
    for name, field in known.items():
        if name not in values and field.default is MISSING and field.default_factory is MISSING:
            raise ConfigError(f"{what}{name}: is required")
    if not isinstance(values.get("name", ""), str):
        raise ConfigError(f"{what}name: expected a text in quotes, got {values['name']!r}")


def _cases(values: dict[str, Any], folder: Path) -> tuple[Case, ...]:
    """The cases in the table itself (`case`), or in the file that `cases` names."""
    named, own = values.pop("cases", None), values.pop("case", None)
    if (named is None) == (own is None):
        raise ConfigError("expected one of cases (a TOML file) and [[check.case]]")
    if named is None:
        if not isinstance(own, tuple):
            raise ConfigError("case: expected [[check.case]] tables")
        return tuple(_case(each) for each in own)
    if not isinstance(named, str):
        raise ConfigError(f"cases: expected the path of a TOML file in quotes, got {named!r}")
    file = folder / named
    table = read_toml(file, hint="It has a [[case]] table for each case.")
    found = table.get("case")
    if set(table) != {"case"} or not isinstance(found, list):
        raise ConfigError(f"{file}: expected [[case]] tables and nothing else")
    return tuple(_case(each) for each in found)


def _case(table: Any) -> Case:
    if not isinstance(table, dict):
        raise ConfigError(f"case: expected a table of keys, got {table!r}")
    what = f"case {table.get('name', '')!r}: "
    _require_fields(Case, table, what)
    if not isinstance(table.get("row", {}), dict):
        raise ConfigError(f"{what}row: expected a table of columns, got {table['row']!r}")
    return Case(**table)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
