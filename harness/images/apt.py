"""Debian's packages on this machine, where it lets us: as root, with apt."""

from __future__ import annotations

import os
import shutil
import subprocess

from harness.errors import CapabilityMissing

_TIMEOUT_S = 300


def require(*packages: str, what: str) -> None:
    """CapabilityMissing, with the command for a person, where `install` could not get the packages for `what`."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise CapabilityMissing(
            f"{what} is not here, and only root can install it, with apt-get.", hint=_hint(*packages)
        )


def install(*packages: str, what: str) -> None:
    """Install packages for `what`; CapabilityMissing with the command for a person where that is not possible."""
    require(*packages, what=what)
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    get = ["apt-get", "-qq"]
    for argv in ([*get, "update"], [*get, "install", "-y", "--no-install-recommends", *packages]):
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise CapabilityMissing(
                f"{what} could not be installed: {' '.join(argv[:3])}: {reason}.", hint=_hint(*packages)
            )


def _hint(*packages: str) -> str:
    return f"on Debian or Ubuntu, as root: apt-get install {' '.join(packages)}"
