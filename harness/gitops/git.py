"""The one place that runs git: as an argv list, with no configuration but the repository's own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from harness.errors import CapabilityMissing, PlatformError

TIMEOUT_S = 60.0
_ALONE = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
_QUARANTINE = ("GIT_QUARANTINE_PATH", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES")


def git(
    folder: Path, *arguments: str, env: Mapping[str, str] | None = None, given: bytes | None = None, fails: bool = False
) -> subprocess.CompletedProcess[bytes]:
    """Run git in a folder. PlatformError with what git said if it fails, unless it may (`fails`)."""
    argv = [program(), "-C", str(folder), *arguments]
    own = {**environment(os.environ, folder), **(env or {})}
    try:
        done = subprocess.run(argv, env=own, input=given, capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise PlatformError(f"git {arguments[0]}: no end within {TIMEOUT_S:g} s") from None
    if done.returncode and not fails:
        said = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
        raise PlatformError(f"git {arguments[0]}: {said}")
    return done


def text(folder: Path, *arguments: str) -> str:
    """What git prints, without the last line end."""
    return git(folder, *arguments).stdout.decode(errors="replace").rstrip("\n")


def program() -> str:
    """Its path; CapabilityMissing where there is none."""
    found = shutil.which("git")
    if found is None:
        raise CapabilityMissing("git", hint="install it (Debian: apt-get install git)")
    return found


def environment(outside: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Of the environment outside, what git may see in a folder. Pure.

    Whoever starts a run from a hook of their own repository has GIT_DIR set, which would turn every command here on
    that repository. Only our own hook's variables pass: where the objects of a push are until it is taken.
    """
    kept = {name: outside[name] for name in ("PATH", "HOME") if name in outside}
    if Path(outside.get("GIT_QUARANTINE_PATH", "")).is_relative_to(folder.resolve()):
        kept |= {name: outside[name] for name in _QUARANTINE if name in outside}
    return {**kept, **_ALONE}
