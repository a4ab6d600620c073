"""A sudden peak on a base rate: whether a service survives it, and how long it takes to recover.

Runs alone: `locust -f loadtests/spike.py --host http://127.0.0.1:PORT --base-rps 50 --peak-rps 400`.
loadtests/README.md has the options.
"""

from __future__ import annotations

from harness.load.alone import ShapedUser, options
from harness.load.shapes import Spike

options(Spike)


class SpikingUser(ShapedUser):
    """One schedule of this shape."""

    shape = Spike
