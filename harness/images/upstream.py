"""Images that nothing here can make: a registry has them, or they are not to be had."""

from __future__ import annotations

from typing import NoReturn

from harness.errors import CapabilityMissing
from harness.images.catalogue import Catalogue, Item
from harness.images.docker import registry_of
from harness.images.making import Making


def inputs(item: Item, catalogue: Catalogue) -> list[str]:
    """Its name says all."""
    return []


def make(making: Making) -> NoReturn:
    """What is asked for when no registry gave it. Errors: CapabilityMissing, always."""
    name = making.item.name
    raise CapabilityMissing(
        f"{name} cannot be made here, and {registry_of(name)} does not answer.",
        hint="where it does: docker pull it, docker save it, and docker load it here",
    )
