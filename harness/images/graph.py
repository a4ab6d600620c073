"""Pure decisions on the graph of items: keys, what must be made, and what can be made now."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from enum import StrEnum

from harness.errors import ConfigError
from harness.images.cache import key_of
from harness.images.catalogue import Item


class How(StrEnum):
    """How an item is had."""

    BUILT = "built"
    PULLED = "pulled"
    MISSING = "missing"


def in_order(items: Mapping[str, Item], ids: Iterable[str]) -> list[str]:
    """These ids and all that they need, each after what it needs; ConfigError names a circle."""
    order: dict[str, None] = {}

    def visit(identity: str, path: tuple[str, ...]) -> None:
        if identity in path:
            raise ConfigError(f"images: a circle of needs: {' -> '.join((*path[path.index(identity) :], identity))}")
        if identity not in order:
            for need in items[identity].needs:
                visit(need, (*path, identity))
            order[identity] = None

    for each in ids:
        visit(each, ())
    return list(order)


def keys(items: Mapping[str, Item], ids: Iterable[str], inputs: Callable[[Item], list[str]]) -> dict[str, str]:
    """The key of each of these ids and of all that they need."""
    found: dict[str, str] = {}
    for identity in in_order(items, ids):
        item = items[identity]
        entry = [f"{name}={value!r}" for name, value in sorted(item.options.items())]
        found[identity] = key_of(
            [item.kind, item.name, *entry, *inputs(item)], {need: found[need] for need in item.needs}
        )
    return found


def to_make(items: Mapping[str, Item], wanted: Iterable[str], there: Collection[str]) -> list[str]:
    """What must be made so that all `wanted` are there, in order: the parts of what is there are not needed."""
    missing: dict[str, None] = {}

    def visit(identity: str) -> None:
        if identity in there or identity in missing:
            return
        for need in items[identity].needs:
            visit(need)
        missing[identity] = None

    for each in wanted:
        visit(each)
    return list(missing)


def ready(items: Mapping[str, Item], left: Iterable[str], unfinished: Collection[str]) -> list[str]:
    """Those of `left` that need nothing that is unfinished."""
    return [identity for identity in left if not any(need in unfinished for need in items[identity].needs)]
