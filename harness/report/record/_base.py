"""What the models of the run record share: no field that is not declared, numbers that may be missing, and a status."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

Number = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]


class Record(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_assignment=True)


def how_many_passed(passed: Sequence[bool | None]) -> str:
    """How many of those that were judged passed, and how many were not judged (None)."""
    judged = [each for each in passed if each is not None]
    left_out = len(passed) - len(judged)
    return f"{sum(judged)} of {len(judged)} passed" + (f", {left_out} not judged" if left_out else "")


class Status(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
