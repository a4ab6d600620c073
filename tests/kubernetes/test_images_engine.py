"""A real Docker: it may run a node, and what a killed build left in it goes, but nothing that is in use."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest

from harness.images import engine, leftovers
from harness.images.making import LABEL
from harness.runtime.identity import Identity
from harness.runtime.owner import Owner

EMPTY = "rehearsal/nothing:1"
EMPTY_TAR = b"\0" * 1024


@pytest.fixture
def containers() -> Iterator[tuple[str, str]]:
    """A container of a build that this process makes, and one whose maker was killed."""
    engine.require_engine()  # which leaves an empty image behind
    with subprocess.Popen(["sleep", "600"]) as maker:
        dead = f"rehearsal-build-node--{replace(Owner.me(), process=Identity.of(maker.pid))}"
        maker.kill()
    mine = leftovers.container_name(f"rehearsal/test-{os.getpid()}:1")
    for name in (mine, dead):
        engine.docker("create", "--name", name, EMPTY, "/nothing")
    try:
        yield mine, dead
    finally:
        for name in (mine, dead):
            engine.succeeds("rm", "--force", name)


def test_the_container_of_a_killed_build_goes_and_that_of_a_living_one_stays(containers: tuple[str, str]) -> None:
    mine, dead = containers
    assert dead in leftovers.collect()
    names = engine.docker("ps", "--all", "--format", "{{.Names}}").split()
    assert mine in names
    assert dead not in names


def test_an_image_whose_name_a_newer_one_took_goes() -> None:
    """A build leaves one of each name; another's nameless image is not ours to remove."""
    name = f"rehearsal/test-{os.getpid()}:1"
    ours, theirs = f"LABEL {LABEL}=key", "LABEL somebody=else"
    old, foreign, new = (
        engine.docker("import", "--change", label, "-", name, stdin=EMPTY_TAR).strip() for label in (ours, theirs, ours)
    )
    try:
        leftovers.prune()
        assert [engine.succeeds("image", "inspect", image) for image in (old, foreign, new)] == [False, True, True]
    finally:
        engine.succeeds("image", "rm", name)
        engine.succeeds("image", "rm", foreign)


def test_asking_whether_a_node_may_run_leaves_one_empty_image_however_often() -> None:
    def left() -> set[str]:
        return set(engine.docker("image", "ls", "--all", "--quiet").split())

    engine.require_engine()
    before = left()
    engine.require_engine()
    assert left() == before
