"""Feast's own Python: made on demand, once, from pinned versions; it cannot share ours.

Feast registers a plug-in with MLflow, which would make the first call of every MLflow process import all of Feast.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from harness.errors import CapabilityMissing
from harness.runtime import uv
from harness.runtime.clock import Deadline
from harness.runtime.lock import locked
from harness.runtime.paths import cache_home, data_path

PACKAGE = "feast==0.67.0"
CONSTRAINTS = "images/feast/constraints.txt"
WHAT = "The feature store's environment"
INSTALL_S = 600
_READY = ".ready"

Say = Callable[[str], None]


def python(say: Say = lambda words: None) -> Path:
    """The interpreter that has Feast; the environment is made if it is not here. CapabilityMissing if it cannot be."""
    folder = place()
    if not (folder / _READY).exists():
        with locked(folder.with_suffix(".lock"), WHAT, Deadline.after(INSTALL_S), needed=lambda: True):
            if not (folder / _READY).exists():
                _make(folder, say)
    return folder / "bin" / "python"


def missing() -> str:
    """Why it is not here, and how to get it; empty if it is."""
    if (place() / _READY).exists():
        return ""
    return f"{PACKAGE} is installed when a rehearsal first asks for features (70 packages, 450 MB)"


def place() -> Path:
    """Where it lies: another folder for other versions and another Python."""
    pinned = data_path(CONSTRAINTS).read_bytes() + PACKAGE.encode() + sys.version.encode()
    return cache_home() / f"feast-{hashlib.sha256(pinned).hexdigest()[:12]}"


def _make(folder: Path, say: Say) -> None:
    """Make it afresh: what an interruption has left is removed."""
    began = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    say(f"installing {PACKAGE} in an environment of its own, once")
    program = uv.uv(WHAT)
    _run([program, "venv", "--quiet", "--python", sys.executable, str(folder)])
    pinned = ["--constraints", str(data_path(CONSTRAINTS)), "--compile-bytecode"]
    _run([program, "pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), *pinned, PACKAGE])
    (folder / _READY).touch()
    say(f"{PACKAGE} is installed ({time.monotonic() - began:.0f} s)")


def _run(argv: list[str]) -> None:
    try:
        done = subprocess.run(
            argv, env=uv.environment(), capture_output=True, text=True, timeout=INSTALL_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise CapabilityMissing(
            f"{WHAT} was not made within {INSTALL_S} s.", hint="try again: what came is kept"
        ) from None
    if done.returncode:
        reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise CapabilityMissing(f"{WHAT} could not be made: {reason[0]}", hint="uv takes pip's settings of an index")
