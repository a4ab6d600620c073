"""The load's own locustfile without its records: what they cost is the difference."""

from __future__ import annotations

from typing import Any

from harness.load import open_loop
from harness.load.locustfile import Load


class NoRecords:
    """Takes records as harness.load.records.Recorder does, and keeps none."""

    def __init__(self, *_: Any) -> None: ...

    def write(self, *_: Any) -> None: ...

    def close(self) -> None: ...


open_loop.Recorder = NoRecords  # type: ignore[assignment, attr-defined]
__all__ = ["Load"]
