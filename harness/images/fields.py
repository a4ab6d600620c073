"""What an entry of the catalogue may say: sections, their kinds, and the fields of each kind, as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Field:
    """A field's type in words and as a check."""

    expected: str
    fits: Callable[[object], bool]
    required: bool = False


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(_is_text(each) for each in value)


def _is_text_table(value: object) -> bool:
    return isinstance(value, dict) and bool(value) and all(_is_text(each) for each in value.values())


def _is_binaries(value: object) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(path.startswith("/") and _is_text(each) and "/" in each for path, each in value.items())
    )


def _is_user(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def text(*, required: bool = False) -> Field:
    return Field("a text", _is_text, required)


def texts(*, required: bool = False) -> Field:
    return Field("a list of texts", _is_texts, required)


def table(*, required: bool = False) -> Field:
    return Field("a table of texts", _is_text_table, required)


def flag() -> Field:
    return Field("true or false", lambda value: isinstance(value, bool))


BINARIES = Field('a table of "/path" = "module/program"', _is_binaries)
USER = Field("a user id, 0 or more", _is_user)

SECTIONS = ("module", "bundle", "part", "image")

KINDS_OF: dict[str, tuple[str, ...]] = {
    "module": ("module",),
    "bundle": ("bundle",),
    "part": ("root", "packages", "wheel", "tree", "app", "node-files"),
    "image": ("go", "layers", "node", "upstream"),
}

ALWAYS: dict[str, Field] = {"name": text(required=True), "needs": texts()}

FIELDS: dict[str, dict[str, Field]] = {
    "module": {"programs": table(required=True), "ldflags": text(), "host": flag()},
    "bundle": {
        "module": text(required=True),
        "source": text(required=True),
        "files": texts(),
        "kustomize": texts(),
        "tags": table(),
        "chart": text(),
        "release": text(),
        "namespace": text(),
        "variables": table(),
        "values": Field("a table", lambda value: isinstance(value, dict)),
    },
    "go": {
        "binaries": Field(BINARIES.expected, BINARIES.fits, required=True),
        "user": USER,
        "entrypoint": texts(),
        "upstream": flag(),
    },
    "root": {"packages": texts(required=True)},
    "packages": {"root": text(required=True), "packages": texts(required=True), "drop": texts(), "links": table()},
    "wheel": {"package": text(required=True), "files": table(required=True)},
    "tree": {"extras": texts(), "without": texts(), "drop": texts(), "requirements": texts(), "constraints": text()},
    "app": {},
    "node-files": {
        "version": text(required=True),
        "pause": text(required=True),
        "binaries": Field(BINARIES.expected, BINARIES.fits, required=True),
    },
    "layers": {
        "parent": text(),
        "layers": texts(),
        "binaries": BINARIES,
        "files": text(),
        "run": texts(),
        "env": table(),
        "workdir": text(),
        "user": USER,
        "stopsignal": text(),
        "entrypoint": texts(),
        "command": texts(),
        "upstream": flag(),
    },
    "node": {"parent": text(required=True), "images": texts(required=True)},
    "upstream": {},
}
