"""Days in minutes: the rate of a service that people use, low at midnight and high at noon.

Runs alone: `locust -f loadtests/diurnal.py --host http://127.0.0.1:PORT --low-rps 20 --high-rps 200 --day-s 120`.
loadtests/README.md has the options.
"""

from __future__ import annotations

from harness.load.alone import ShapedUser, options
from harness.load.shapes import Diurnal

options(Diurnal)


class DiurnalUser(ShapedUser):
    """One schedule of this shape."""

    shape = Diurnal
