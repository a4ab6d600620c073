"""A rate that grows along a line: at which one a service begins to be late.

Runs alone: `locust -f loadtests/ramp.py --host http://127.0.0.1:PORT --from-rps 10 --to-rps 300 --ramp-s 30`.
loadtests/README.md has the options.
"""

from __future__ import annotations

from harness.load.alone import ShapedUser, options
from harness.load.shapes import Ramp

options(Ramp)


class RampingUser(ShapedUser):
    """One schedule of this shape."""

    shape = Ramp
