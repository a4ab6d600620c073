"""Images by the names that a cluster's own registry has them under, and how a cluster comes to have them."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

from harness.errors import ConfigError
from harness.images.catalogue import load, path_of

_PREFIX = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*")
_NOT_THERE = ("postgres",)
"""Of manifests/system: what only the kind world has."""
PUSH = "rehearse images push PREFIX, and name it: --image-prefix PREFIX (docs/kubernetes.md)"


def moved(image: str, prefix: str) -> str:
    """An image's name in the registry: PREFIX/path:tag, without the registry that it comes from; as it is without."""
    return f"{prefix}/{path_of(image)}" if prefix else image


def in_registry(document: Any, prefix: str) -> Any:
    """A document whose images of the catalogue are the registry's, wherever they are named; unchanged without one."""
    if not prefix:
        return document
    if isinstance(document, str):
        return _known().sub(lambda found: moved(found[0], prefix), document)
    if isinstance(document, Mapping):
        return {key: in_registry(value, prefix) for key, value in document.items()}
    if isinstance(document, list):
        return [in_registry(value, prefix) for value in document]
    return document


def how_to_get(image: str) -> str:
    """How a cluster gets an image that it lacks; "" for one that the catalogue does not know, whoever's registry."""
    tagged = re.sub(r"@sha256:[0-9a-f]+$", "", image)
    for known in _images():
        if tagged == known or tagged.endswith(f"/{path_of(known)}") or tagged == path_of(known):
            return f"rehearse images build {known}; for a cluster of yours also: {PUSH}"
    return ""


def for_clusters() -> list[str]:
    """The images that a cluster of somebody's own needs of us: what --install brings, and what runs are made of."""
    from harness.backends.kubernetes.manifests import fill
    from harness.backends.kubernetes.manifests import load as documents
    from harness.runtime.paths import data_folder

    folder = data_folder("manifests")
    parts = [path for path in (folder / "system").iterdir() if path.name not in _NOT_THERE]
    named = str(fill([documents(path) for path in (*parts, folder / "load")], {}))
    found = {_full(match[0]) for match in _known().finditer(named)}
    return [name for name in _images() if name in found]


def check_prefix(prefix: str) -> str:
    """The prefix; ConfigError for what no image's name can begin with."""
    if not _PREFIX.fullmatch(prefix):
        raise ConfigError(
            f"image prefix: expected a registry and perhaps a path, such as registry.example/ml, got {prefix!r}"
        )
    return prefix


def _full(name: str) -> str:
    """The catalogue's name of an image, for the spellings that mean the same."""
    return next(known for known in _images() if name in (known, path_of(known)))


@functools.cache
def _images() -> tuple[str, ...]:
    return tuple(item.id for item in load().items.values() if item.is_image)


@functools.cache
def _known() -> re.Pattern[str]:
    """Any name of the catalogue's images, also without its registry, as KServe's settings have them."""
    spellings = {spelling for name in _images() for spelling in (name, path_of(name))}
    names = "|".join(re.escape(name) for name in sorted(spellings, key=len, reverse=True))
    return re.compile(rf"(?<![\w./:-])(?:{names})(?![\w.-])")
