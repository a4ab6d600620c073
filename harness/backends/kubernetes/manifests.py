"""The components of manifests/system as data: what each applies, in which order, and what it needs first.

A component is a folder: component.yaml (see `Component`) and documents of our own, applied in the order of their files
after what is taken out of the bundles of upstream modules.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from harness import __version__
from harness.backends.backend import Part
from harness.errors import ConfigError

Object = dict[str, Any]
RANDOM = "{random}"
NEEDED: dict[Part, tuple[str, ...]] = {
    Part.TRACKING: ("mlflow",),
    Part.SERVING: ("envoy-gateway", "gateway", "kserve-gateway", "kserve", "serving"),
    Part.METRICS: ("envoy-gateway", "gateway", "prometheus", "alertmanager"),
    Part.DRIFT: (),
    Part.TRAINER: ("trainer-runtime",),
    Part.AUTOSCALING: ("metrics-server",),
}
"""The components of manifests/system that a part is made of, beside those that they need."""
_NOT_APPLIED = ("component.yaml", "kustomization.yaml")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Bundle:
    """Documents of an upstream module: those of "bundle/file" that `take` names, with merge patches (by Kind/name)."""

    name: str
    take: tuple[str, ...]
    merge: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Certificates:
    """TLS secrets of a namespace, of one CA: name -> DNS names; `webhooks`: the component's webhooks trust that CA."""

    namespace: str
    secrets: Mapping[str, tuple[str, ...]]
    labels: Mapping[str, str] = field(default_factory=dict)
    webhooks: bool = False


@dataclass(frozen=True)
class Ready:
    """An object that tells that a component serves: `condition` is "" for a workload that is rolled out."""

    kind: str
    namespace: str
    name: str
    condition: str = ""

    @classmethod
    def parse(cls, text: str) -> Ready:
        """As "apps/v1/Deployment ns/name" or "…/Gateway ns/name Programmed"."""
        kind, where, *condition = text.split()
        namespace, _, name = where.rpartition("/")
        return cls(kind, namespace, name, *condition)


@dataclass(frozen=True)
class Component:
    """One folder of manifests/system."""

    name: str
    folder: Path
    version: str
    needs: tuple[str, ...] = ()
    bundles: tuple[Bundle, ...] = ()
    certificates: tuple[Certificates, ...] = ()
    ready: tuple[Ready, ...] = ()

    def documents(self, bundle: Callable[[str], Path]) -> list[Object]:
        """What is applied, in order; `bundle` finds a module's bundle."""
        taken = [document for each in self.bundles for document in _taken(each, _upstream(each, bundle), self.name)]
        own = [document for path in self.files for document in load(path)]
        return sorted(taken + own, key=_rank)

    @property
    def files(self) -> list[Path]:
        return [path for path in sorted(self.folder.glob("*.yaml")) if path.name not in _NOT_APPLIED]


def component(folder: Path) -> Component:
    """The component of a folder; ConfigError names a key that is unknown."""
    path = folder / "component.yaml"
    table = yaml.load(path.read_text(encoding="utf-8"), _LOADER)
    known = {"version", "needs", "bundles", "certificates", "ready"}
    if wrong := sorted(set(table) - known):
        raise ConfigError(f"{path}: unknown key {wrong[0]}; known are {', '.join(sorted(known))}")
    return Component(
        name=folder.name,
        folder=folder,
        version=str(table["version"]).replace("{version}", __version__),
        needs=tuple(table.get("needs", ())),
        bundles=tuple(Bundle(x["bundle"], tuple(x["take"]), x.get("merge", {})) for x in table.get("bundles", ())),
        certificates=tuple(_certificates(x) for x in table.get("certificates", ())),
        ready=tuple(Ready.parse(text) for text in table.get("ready", ())),
    )


def components(folder: Path) -> dict[str, Component]:
    """Every component below manifests/system."""
    return {path.parent.name: component(path.parent) for path in sorted(folder.glob("*/component.yaml"))}


def closure(names: Iterable[str], known: Mapping[str, Component]) -> list[str]:
    """The names with all that they need, each after its needs; ConfigError for a name that is unknown or a circle."""
    order: list[str] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise ConfigError(f"manifests/system: {' needs '.join([*path, name])}")
        if name not in known:
            raise ConfigError(f"manifests/system: no component {name!r}; there are {', '.join(sorted(known))}")
        for need in known[name].needs:
            visit(need, (*path, name))
        if name not in order:
            order.append(name)

    for name in names:
        visit(name, ())
    return order


def load(path: Path) -> list[Object]:
    """The documents of a YAML or JSON file (a list of them), or of all such files below a folder."""
    files = sorted(found for found in path.rglob("*") if found.suffix in (".yaml", ".yml", ".json"))
    return [document for file in files or [path] for document in _read(file)]


def fill(document: Any, values: Mapping[str, str]) -> Any:
    """The document with {version}, {random} and `values` put in place; other braces stay."""
    if isinstance(document, str):
        if RANDOM in document:
            return document.replace(RANDOM, secrets.token_urlsafe(24))
        for name, value in {"version": __version__, **values}.items():
            document = document.replace("{" + name + "}", value)
        return document
    if isinstance(document, Mapping):
        return {key: fill(value, values) for key, value in document.items()}
    if isinstance(document, list):
        return [fill(value, values) for value in document]
    return document


def merged(target: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7386) applied: null removes a key, a list replaces the whole list."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def digest(component: Component, documents: list[Object]) -> str:
    """What a cluster has of a component, to tell whether it is of these manifests."""
    text = json.dumps([component.version, documents, sorted(map(str, component.certificates))], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def title(document: Mapping[str, Any]) -> str:
    """Kind/name."""
    return f"{document['kind']}/{document['metadata']['name']}"


def _upstream(each: Bundle, bundle: Callable[[str], Path]) -> list[Object]:
    name, _, file = each.name.partition("/")
    return load(bundle(name) / f"{file}.yaml")


def _taken(bundle: Bundle, documents: list[Object], component: str) -> Iterator[Object]:
    for pattern in bundle.take:
        found = [document for document in documents if fnmatch.fnmatchcase(title(document), pattern)]
        if not found:
            raise ConfigError(f"manifests/system/{component}: the bundle {bundle.name} has no {pattern}")
        for document in found:
            yield merged(document, bundle.merge.get(title(document), {}))


def _read(path: Path) -> list[Object]:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        found: list[Object] = json.loads(text)
        return found
    return [document for document in yaml.load_all(text, _LOADER) if document]


def _certificates(table: Mapping[str, Any]) -> Certificates:
    secret_names = {name: tuple(names) for name, names in table["secrets"].items()}
    return Certificates(table["namespace"], secret_names, table.get("labels", {}), table.get("webhooks", False))


_FIRST = ("Namespace", "CustomResourceDefinition", "ServiceAccount", "ClusterRole", "Role", "ConfigMap", "Secret")
_LAST = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")


def _rank(document: Mapping[str, Any]) -> int:
    """What others refer to comes first; webhooks come last, so that they do not refuse what comes before them."""
    kind = document["kind"]
    if kind in _LAST:
        return len(_FIRST) + 1
    return _FIRST.index(kind) if kind in _FIRST else len(_FIRST)
