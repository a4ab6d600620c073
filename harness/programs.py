"""Gets the one program that no Python package carries: Prometheus, out of Debian's package.

Only the binary is unpacked, into the cache: no service is installed or started, and no root is needed.
Run as `python -m harness.programs` by ./rehearse; standard library only.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from harness.errors import CapabilityMissing
from harness.runtime.paths import cache_home, find_program

HOW_TO_GET_PROMETHEUS = "apt-get install prometheus, or put a prometheus binary (2.42 or newer) on PATH"

_DOWNLOAD_TIMEOUT_S = 300


def fetch_prometheus() -> Path:
    """The path of a Prometheus that runs: the one that is here, else one unpacked from apt's package.

    Raises CapabilityMissing, with the reason, where apt cannot give it.
    """
    if found := find_program("prometheus"):
        return found
    missing = [tool for tool in ("apt-get", "dpkg-deb") if shutil.which(tool) is None]
    if missing:
        raise CapabilityMissing(f"Prometheus is not here, and neither is {missing[0]}.", hint=HOW_TO_GET_PROMETHEUS)
    target = cache_home() / "bin" / "prometheus"
    with tempfile.TemporaryDirectory(prefix=".prometheus-", dir=cache_home()) as folder:
        binary = _unpack(_download(Path(folder)), Path(folder) / "unpacked")
        _run([str(binary), "--version"], Path(folder))
        target.parent.mkdir(exist_ok=True)
        binary.replace(target)
    return target


def _download(folder: Path) -> Path:
    """The package file; with apt's own lists, else with fresh ones in `folder` (which needs no root)."""
    lists = folder / "lists"
    (lists / "partial").mkdir(parents=True)
    own_lists = ["-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={folder}", "-o", "APT::Sandbox::User="]
    try:
        _run(["apt-get", "-qq", "-o", "APT::Sandbox::User=", "download", "prometheus"], folder)
    except CapabilityMissing:
        _run(["apt-get", "-qq", *own_lists, "update"], folder)
        _run(["apt-get", "-qq", *own_lists, "download", "prometheus"], folder)
    return next(folder.glob("prometheus_*.deb"))


def _unpack(package: Path, folder: Path) -> Path:
    _run(["dpkg-deb", "-x", str(package), str(folder)], package.parent)
    return folder / "usr" / "bin" / "prometheus"


def _run(argv: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(
            argv, cwd=folder, capture_output=True, text=True, timeout=_DOWNLOAD_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CapabilityMissing(f"Prometheus could not be fetched: {error}.", hint=HOW_TO_GET_PROMETHEUS) from error
    if done.returncode != 0:
        reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise CapabilityMissing(
            f"Prometheus could not be fetched ({argv[0]}): {reason[0]}.", hint=HOW_TO_GET_PROMETHEUS
        )


def main() -> int:
    try:
        print(f"rehearse: Prometheus is {fetch_prometheus()}", file=sys.stderr)
    except CapabilityMissing as missing:
        print(f"rehearse: {missing}", file=sys.stderr)
        print("rehearse: the steps that need Prometheus will be skipped with this reason", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
