"""How long images take: with everything there, and the Go programs and bundles from nothing (which is half an hour)."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.images import load

WARM = 5
_COLD_TIMEOUT_S = 7200


def measure(folder: Path) -> Iterator[tuple[str, str, str, list[float]]]:
    """A build after which nothing has changed; the first one, which may have work to do, does not count."""
    _build((), os.environ)
    yield "rehearse images build, everything there", "s", "<= 60", [_build((), os.environ) for _ in range(WARM)]


def measure_cold(folder: Path) -> Iterator[tuple[str, str, str, list[float]]]:
    """All wrapper modules and bundles with no cache of Go's and none of ours; downloads included."""
    names = [item.id for item in load().items.values() if item.section in ("module", "bundle")]
    places = {"REHEARSAL_CACHE": "cache", "GOCACHE": "build", "GOMODCACHE": "modules"}
    env = {**os.environ, **{variable: str(folder / name) for variable, name in places.items()}}
    try:
        yield "all Go programs and bundles, from nothing", "s", "<= 1200", [_build(names, env)]
    finally:  # Go writes its module cache read-only
        subprocess.run(["go", "clean", "-modcache"], env=env, check=True, timeout=600)


def _build(names: tuple[str, ...] | list[str], env: Mapping[str, str]) -> float:
    began = time.monotonic()
    argv = [sys.executable, "-m", "harness.cli", "images", "build", "--build", *names]
    subprocess.run(argv, env=dict(env), check=True, stdout=subprocess.DEVNULL, timeout=_COLD_TIMEOUT_S)
    return time.monotonic() - began
