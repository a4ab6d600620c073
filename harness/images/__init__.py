"""Programs, manifests and images of the container and cluster worlds: named in a catalogue, pulled or built.

What runs a cluster asks here for what it needs; what is not there is a CapabilityMissing that names the command that
gets it. Only `build` changes anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.errors import CapabilityMissing
from harness.images import cache
from harness.images.builder import Builder, Source, State, item_keys, survey
from harness.images.catalogue import Catalogue, Item, load
from harness.images.graph import How
from harness.runtime.events import Listener

__all__ = [
    "Catalogue", "How", "Item", "Source", "State",
    "build", "bundle", "container_images", "load", "missing", "node_image", "program", "require", "survey",
]  # fmt: skip

_OF_CONTAINERS = ("postgres", "mlflow", "envoy", "prometheus", "alertmanager", "model-server", "collector", "pipeline")


def build(names: Sequence[str] = (), *, source: Source = Source.AUTO, listener: Listener) -> list[State]:
    """Bring the items of these names here, by default all that are of use by themselves; progress goes to `listener`.

    Raises UsageError for a name that is not in the catalogue, and for a machine that lacks Go or a way to its modules.
    """
    catalogue = load()
    return list(Builder(catalogue, source, listener).get(_wanted(catalogue, names)).values())


def missing(names: Sequence[str] = (), *, source: Source = Source.AUTO) -> list[str]:
    """The ids of what `build` would get, nothing changed; raises what it would raise before it begins."""
    catalogue = load()
    return Builder(catalogue, source, lambda event: None).missing(_wanted(catalogue, names))


def program(name: str) -> Path:
    """The path of a program that was built for this machine (kind, kubectl); CapabilityMissing if it was not."""
    catalogue = load()
    module = catalogue.module_of(name)
    return _folder(catalogue, module, f"The program {name}") / "bin" / name


def bundle(name: str) -> Path:
    """The folder of a bundle's manifests, crds.yaml and objects.yaml, or one of them; else CapabilityMissing."""
    catalogue = load()
    return _folder(catalogue, catalogue.items[f"bundle/{name}"], f"The bundle {name}")


def require(names: Sequence[str]) -> None:
    """CapabilityMissing, naming them and the command that gets them, unless all images are in Docker and up to date."""
    catalogue = load()
    states = survey(catalogue, [catalogue.image(name).id for name in names])
    missing = [state.item.name for state in states.values() if state.how is How.MISSING]
    if missing:
        raise CapabilityMissing(
            f"Images are missing, or were made of something else than now: {', '.join(missing)}.",
            hint=f"rehearse images build {' '.join(missing)}",
        )


def container_images() -> list[str]:
    """The names of the images of the containers world; CapabilityMissing, as `require`, unless all are here."""
    catalogue = load()
    names = [item.id for short in _OF_CONTAINERS for item in catalogue.find(short) if item.is_image]
    require(names)
    return names


def node_image() -> str:
    """The name of the image of a cluster's node, which has all images of the cluster in it; else CapabilityMissing."""
    *_, name = (item.name for item in load().items.values() if item.kind == "node")  # each is the parent of the next
    require([name])
    return name


def _wanted(catalogue: Catalogue, names: Sequence[str]) -> list[str]:
    found = [item.id for name in names for item in catalogue.find(name)]
    return list(dict.fromkeys(found)) or [item.id for item in catalogue.items.values() if item.wanted]


def _folder(catalogue: Catalogue, item: Item, what: str) -> Path:
    made = cache.look_up(item.id, item_keys(catalogue, [item.id])[item.id])
    if made is None:
        raise CapabilityMissing(f"{what} is not built.", hint=f"rehearse images build {item.id}")
    return made.folder
