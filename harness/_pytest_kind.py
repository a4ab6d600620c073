"""The fixture `kind_cluster`: a kind cluster for any test, pytest-kind's KindCluster on our programs and images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness.backends.kubernetes.cluster import Cluster
    from harness.backends.session import Session


@pytest.fixture(scope="session")
def kind_cluster(request: pytest.FixtureRequest, rehearsal_session: Session) -> Iterator[Cluster]:
    """The cluster of the session, shared with its platforms if they run in kind; --keep and --reuse as for them."""
    from harness.backends.kubernetes.kind import KindWorld
    from harness.backends.kubernetes.world import WorldOptions
    from harness.backends.session import ClusterSession

    if isinstance(rehearsal_session, ClusterSession) and isinstance(rehearsal_session.world, KindWorld):
        yield rehearsal_session.world.cluster
        return
    keep, reuse = request.config.getoption("--keep"), request.config.getoption("--reuse")
    world = KindWorld.open(WorldOptions(backend="kind", keep=keep, reuse=reuse))
    try:
        yield world.cluster
    finally:
        world.close()
