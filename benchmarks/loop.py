"""The closed loop, as a user runs it: from the shift to the alert, the new version, the promotion and the recovery."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RUNS = 3
MOMENTS = {
    "alert": "alerted_at", "version registered": "trained_at", "promoted": "released_at", "recovered": "ended_at"
}  # fmt: skip


def measure(folder: Path) -> Iterator[tuple[str, str, str, list[float]]]:
    """Seconds from the shift to each moment, and from the alert to the promotion, over runs of `rehearse loop`."""
    rounds = [_round(folder) for _ in range(RUNS)]
    for name, moment in MOMENTS.items():
        yield f"closed loop: shift to {name}", "s", "", [each[moment] - each["shift_at"] for each in rounds]
    taken = [each["released_at"] - each["alerted_at"] for each in rounds]
    yield "closed loop: alert to promotion", "s", "<= 60", taken


def _round(folder: Path) -> dict[str, Any]:
    argv = [sys.executable, "-m", "harness.cli", "loop", "--json", "--reports", str(folder)]
    done = subprocess.run(argv, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=600)
    (last,) = json.loads(done.stdout)["rounds"]
    found: dict[str, Any] = last
    return found
