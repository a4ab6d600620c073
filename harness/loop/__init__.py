"""The closed loop on a platform: a service's alerts are answered with a version that is trained anew."""

from __future__ import annotations

from harness.loop.closed_loop import Answering, ClosedLoop
from harness.loop.shifted import RAND_REVERSED, SMALL_DATA, ShiftingTraffic
from harness.loop.truth import TruthFeed

__all__ = ["RAND_REVERSED", "SMALL_DATA", "Answering", "ClosedLoop", "ShiftingTraffic", "TruthFeed"]
