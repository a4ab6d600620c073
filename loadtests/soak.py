"""A rate held for long: what leaks or fills up.

Runs alone: `locust -f loadtests/soak.py --host http://127.0.0.1:PORT --rps 100 --hold-s 3600`.
loadtests/README.md has the options.
"""

from __future__ import annotations

from harness.load.alone import ShapedUser, options
from harness.load.shapes import Soak

options(Soak)


class SoakingUser(ShapedUser):
    """One schedule of this shape."""

    shape = Soak
