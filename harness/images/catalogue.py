"""The catalogue: every program, bundle and image by name, read from images/catalogue.toml and checked.

Four sections become items of one graph: [[module]] (a wrapper Go module and its programs), [[bundle]] (manifests out of
a module), [[part]] (a folder that images share: a root file system, a Python tree) and [[image]].
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import ConfigError, UsageError
from harness.images.fields import ALWAYS, FIELDS, KINDS_OF, SECTIONS, Field
from harness.runtime.paths import data_folder


@dataclass(frozen=True)
class Item:
    """One entry: `id` is SECTION/NAME, and an image's whole name; `needs` are ids that it is made from."""

    id: str
    section: str
    name: str
    kind: str
    needs: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_image(self) -> bool:
        return self.section == "image"

    @property
    def upstream(self) -> bool:
        """Whether a registry has it under this name."""
        return self.kind == "upstream" or bool(self.options.get("upstream", False))

    @property
    def wanted(self) -> bool:
        """Whether it is of use by itself, and not only as a part of others, and can be had everywhere."""
        if self.kind == "upstream":
            return False
        return self.section in ("image", "bundle") or bool(self.options.get("host", False))


@dataclass(frozen=True)
class Catalogue:
    """All items by id, in the order of the file; `folder` is where their own files lie."""

    items: Mapping[str, Item]
    folder: Path

    def find(self, name: str) -> list[Item]:
        """The items that a user means by `name`: an id, a name, or an image's name without registry or tag."""
        if name in self.items:
            return [self.items[name]]
        found = [item for item in self.items.values() if name in (item.name, *short_names(item))]
        if not found:
            raise UsageError(
                f"images: no {name!r} in the catalogue; nearest: {', '.join(self._nearest(name))}.",
                hint="rehearse images list shows all.",
            )
        return found

    def image(self, name: str) -> Item:
        """The image with exactly this name; UsageError if there is none."""
        if (item := self.items.get(name)) is not None and item.is_image:
            return item
        images = ", ".join(item.id for item in self.items.values() if item.is_image)
        raise UsageError(f"images: no image {name!r} in the catalogue; known: {images}")

    def _nearest(self, name: str) -> list[str]:
        spellings = {each: item.id for item in self.items.values() for each in (item.id, item.name, *short_names(item))}
        close = difflib.get_close_matches(name, spellings, n=3, cutoff=0.0)
        return list(dict.fromkeys(spellings[each] for each in close))

    def module_of(self, program: str) -> Item:
        """The module that builds `program`; UsageError if there is none."""
        for item in self.items.values():
            if item.section == "module" and program in item.options["programs"]:
                return item
        raise UsageError(f"images: no program {program!r} in the catalogue")


def load(folder: Path | None = None) -> Catalogue:
    """The catalogue in `folder` (default: the one that comes with Rehearsal).

    Raises ConfigError, one line with the file, the entry, the field and the allowed values.
    """
    folder = folder or data_folder("images")
    path = folder / "catalogue.toml"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    return Catalogue(parse(document, str(path)), folder)


def parse(document: Mapping[str, Any], where: str) -> dict[str, Item]:
    """The items of a TOML document, each field checked; `where` names the file in errors."""
    unknown = [section for section in document if section not in SECTIONS]
    if unknown:
        raise ConfigError(f"{where}: [[{unknown[0]}]]: no such section; known: {', '.join(SECTIONS)}")
    items: dict[str, Item] = {}
    for section in SECTIONS:
        for number, entry in enumerate(document.get(section, []), start=1):
            item = _item(section, entry, f"{where}: [[{section}]] {entry.get('name', f'number {number}')}")
            if item.id in items:
                raise ConfigError(f"{where}: [[{section}]] {item.name}: is there twice")
            items[item.id] = item
    _check_needs(items, where)
    return items


def short_names(item: Item) -> tuple[str, ...]:
    """What an image may be called for short: kserve/agent:v0.20.0, kserve/agent, agent."""
    if not item.is_image:
        return ()
    repository, _, tag = item.name.rpartition(":")
    path = path_of(repository)
    return (f"{path}:{tag}", repository, path, path.rpartition("/")[2])


def path_of(image: str) -> str:
    """An image's name without its registry: kserve/agent:v0.20.0."""
    return re.sub(r"^[^/]+\.[^/]+/", "", image)


def _item(section: str, entry: Mapping[str, Any], where: str) -> Item:
    kind = entry.get("kind", section)
    if kind not in KINDS_OF[section]:
        raise ConfigError(f"{where}: kind: expected one of {', '.join(KINDS_OF[section])}, got {kind!r}")
    fields = {**ALWAYS, **FIELDS[kind]}
    for name, value in entry.items():
        if name != "kind":
            _check_field(name, value, fields, where)
    missing = [name for name, spec in fields.items() if spec.required and name not in entry]
    if missing:
        raise ConfigError(f"{where}: {missing[0]}: is missing")
    name = entry["name"]
    options = {key: value for key, value in entry.items() if key not in ("name", "kind", "needs")}
    return Item(name if section == "image" else f"{section}/{name}", section, name, kind, _needs(entry, kind), options)


def _check_field(name: str, value: object, fields: Mapping[str, Field], where: str) -> None:
    spec = fields.get(name)
    if spec is None:
        raise ConfigError(f"{where}: {name}: no such field; known: {', '.join(fields)}")
    if not spec.fits(value):
        raise ConfigError(f"{where}: {name}: expected {spec.expected}, got {value!r}")


def _needs(entry: Mapping[str, Any], kind: str) -> tuple[str, ...]:
    """What it names itself, what it is laid upon or contains, and the programs that render a bundle."""
    needs = [*entry.get("needs", [])]
    needs += [entry[name] for name in ("parent", "root") if name in entry]
    needs += [*entry.get("layers", []), *entry.get("images", [])]
    needs += [f"module/{source.partition('/')[0]}" for source in entry.get("binaries", {}).values()]
    if kind == "bundle":
        needs += ["module/kubernetes"] if "kustomize" in entry else []
        needs += ["module/envoy-gateway"] if "chart" in entry else []
    return tuple(dict.fromkeys(needs))


def _check_needs(items: Mapping[str, Item], where: str) -> None:
    for item in items.values():
        for need in item.needs:
            if need not in items:
                raise ConfigError(f"{where}: [[{item.section}]] {item.name}: needs {need}, which is not there")
        for path, source in item.options.get("binaries", {}).items():
            module, _, program = source.partition("/")
            programs = items[f"module/{module}"].options["programs"]
            if program not in programs:
                raise ConfigError(
                    f"{where}: [[{item.section}]] {item.name}: binaries: {path}: {module} has no program "
                    f"{program!r}; known: {', '.join(programs)}"
                )
