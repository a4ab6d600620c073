"""All contract tests and scenarios of the embedded world together."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path


def measure(folder: Path) -> Iterator[tuple[str, str, str, list[float]]]:
    """Wall time of one run of tests/contract and scenarios on two workers."""
    argv = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--reports", str(folder), "tests/contract", "scenarios"]
    began = time.monotonic()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, timeout=1800)
    yield "all contract tests and embedded scenarios: wall time", "s", "<= 180", [time.monotonic() - began]
