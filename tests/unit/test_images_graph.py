"""Decisions on the graph of images: in which order, what must be made at all, and what can be made now."""

from __future__ import annotations

import pytest

from harness.errors import ConfigError
from harness.images.catalogue import Item
from harness.images.graph import in_order, keys, ready, to_make


def items(**needs: list[str]) -> dict[str, Item]:
    return {name: Item(name, "part", name, "part", tuple(found)) for name, found in needs.items()}


DIAMOND = items(node=["one", "two"], one=["base"], two=["base"], base=[])


def test_what_is_needed_comes_first_and_once() -> None:
    """The shared base of all images is made one time."""
    assert in_order(DIAMOND, ["node"]) == ["base", "one", "two", "node"]


def test_a_circle_is_named() -> None:
    """Without the path nobody finds it among forty entries."""
    with pytest.raises(ConfigError, match="a circle of needs: a -> b -> a"):
        in_order(items(a=["b"], b=["a"]), ["a"])


def test_the_parts_of_what_is_there_are_not_made() -> None:
    """An image that was pulled needs no compiler."""
    assert to_make(DIAMOND, ["node"], {"one", "two"}) == ["node"]
    assert to_make(DIAMOND, ["node"], {"one"}) == ["base", "two", "node"]
    assert to_make(DIAMOND, ["node"], {"node"}) == []


def test_what_can_be_made_now_needs_nothing_unfinished() -> None:
    """Two images of one base are made at the same time, as soon as the base is there."""
    left = ["one", "two", "node"]
    assert ready(DIAMOND, left, {"base", "one", "two", "node"}) == []
    assert ready(DIAMOND, left, {"one", "two", "node"}) == ["one", "two"]


def test_a_changed_input_changes_the_keys_of_all_that_is_made_of_it_and_of_nothing_else() -> None:
    """A change of our code rebuilds its thin layer, and not the base below."""

    def before(item: Item) -> list[str]:
        return ["1"]

    def after(item: Item) -> list[str]:
        return ["2"] if item.id == "one" else ["1"]

    old, new = keys(DIAMOND, DIAMOND, before), keys(DIAMOND, DIAMOND, after)
    assert {name for name in DIAMOND if old[name] != new[name]} == {"one", "node"}


def test_a_changed_entry_changes_its_key() -> None:
    """An image with another user is another image."""
    one = {"a": Item("a", "image", "a", "go", (), {"user": 1})}
    two = {"a": Item("a", "image", "a", "go", (), {"user": 2})}
    assert keys(one, ["a"], lambda item: []) != keys(two, ["a"], lambda item: [])
