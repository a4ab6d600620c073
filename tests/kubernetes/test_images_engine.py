"""A real Docker: it may run a node, and what a killed build left in it goes, but nothing that is in use."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from harness.images import engine, leftovers
from harness.runtime.identity import Identity

EMPTY = "rehearsal/nothing:1"


@pytest.fixture
def containers() -> Iterator[tuple[str, str]]:
    """A container of a build that this process makes, and one whose maker was killed."""
    engine.require_engine()  # which leaves an empty image behind
    with subprocess.Popen(["sleep", "600"]) as maker:
        dead = f"rehearsal-build-node-{maker.pid}-{Identity.of(maker.pid).start}"
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
