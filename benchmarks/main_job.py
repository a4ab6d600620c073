"""The main job, as a user runs it: a new process from command to exit code."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

RUNS = 5


def measure(folder: Path) -> Iterator[tuple[str, str, str, list[float]]]:
    """Wall time and peak memory (PSS of the whole process tree) of `rehearse run`, after one uncounted run."""
    wall, memory = [], []
    for number in range(RUNS + 1):
        began = time.monotonic()
        argv = [sys.executable, "-m", "harness.cli", "run", "--reports", str(folder), "--name", f"bench-{number}"]
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, timeout=600)
        if number:
            wall.append(time.monotonic() - began)
            (record,) = folder.glob(f"*bench-{number}/run.json")
            memory.append(json.loads(record.read_text())["peak_memory_mb"])
    yield "main job, warm caches: wall time", "s", "<= 20", wall
    yield "main job: peak memory of all processes (PSS)", "MB", "<= 1200", memory
