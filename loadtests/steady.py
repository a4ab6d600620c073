"""A steady open-loop load on one model.

Runs alone: `locust -f loadtests/steady.py --host http://127.0.0.1:PORT --rps 200`.
loadtests/README.md has the options.
"""

from __future__ import annotations

from harness.load.alone import ShapedUser, options
from harness.load.shapes import Steady

options(Steady)


class SteadyUser(ShapedUser):
    """One schedule of this shape."""

    shape = Steady
