"""Asking a program that may be here for its version."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

PROBE_TIMEOUT_S = 10


def program_version(program: Path, *arguments: str) -> str | None:
    """The version that a program prints when asked, its path if that has none in it; None if it does not run."""
    try:
        done = subprocess.run(
            [program, *arguments], capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0:
        return None
    found = re.search(r"\d+\.\d[\w.+-]*", done.stdout or done.stderr)
    return found.group() if found else str(program)
