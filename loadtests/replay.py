"""A recorded trace again, request by request.

Runs alone: `locust -f loadtests/replay.py --host http://127.0.0.1:PORT --trace trace.csv`.
loadtests/README.md has the options.
"""

from __future__ import annotations

from harness.load.alone import ShapedUser, options
from harness.load.trace import Replay

options(Replay)


class ReplayingUser(ShapedUser):
    """One schedule of this shape."""

    shape = Replay
