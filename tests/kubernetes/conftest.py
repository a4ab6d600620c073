"""What the tests on a real cluster share: they run with --backend kind, or kubernetes with --context."""

from __future__ import annotations

import pytest

from harness.backends.kubernetes.world import World
from harness.backends.session import ClusterSession, Session


@pytest.fixture
def world(rehearsal_session: Session) -> World:
    """The cluster of this session."""
    if not isinstance(rehearsal_session, ClusterSession):
        pytest.skip("needs --backend kind, or --backend kubernetes --context NAME")
    return rehearsal_session.world
