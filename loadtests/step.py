"""Rates one after the other, each for the same time: how latency follows them, and what an autoscaler does.

Runs alone: `locust -f loadtests/step.py --host http://127.0.0.1:PORT --rates 50/100/200 --each-s 10`.
loadtests/README.md has the options.
"""

from __future__ import annotations

from harness.load.alone import ShapedUser, options
from harness.load.shapes import Step

options(Step)


class StepUser(ShapedUser):
    """One schedule of this shape."""

    shape = Step
