"""Gets the programs that no Python package carries: Prometheus, promtool and Alertmanager, out of Debian's packages.

Only the binaries are unpacked, into the cache: no service is installed or started, and no root is needed.
Run as `python -m harness.programs` by ./rehearse; standard library only.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from harness.errors import CapabilityMissing
from harness.runtime.paths import cache_home, find_program
from harness.runtime.probe import program_version

_DOWNLOAD_TIMEOUT_S = 300


@dataclass(frozen=True)
class Program:
    """A binary in one of Debian's packages; `name` is what it is called in the cache and upstream.

    `share` is a folder of the package that the binary reads at that very path; see `_relocate`.
    """

    name: str
    package: str
    path: str
    at_least: str
    share: str = ""

    @property
    def how_to_get(self) -> str:
        return f"apt-get install {self.package}, or put a {self.name} binary ({self.at_least} or newer) on PATH"


PROMETHEUS = Program("prometheus", "prometheus", "usr/bin/prometheus", "2.42")
PROMTOOL = Program("promtool", "prometheus", "usr/bin/promtool", "2.42")
ALERTMANAGER = Program(
    "alertmanager",
    "prometheus-alertmanager",
    "usr/bin/prometheus-alertmanager",
    "0.25",
    "usr/share/prometheus/alertmanager",
)
PROGRAMS = (PROMETHEUS, PROMTOOL, ALERTMANAGER)


def find(program: Program) -> Path | None:
    """Where the program is, under upstream's name or Debian's; None if it is not here."""
    return find_program(program.name) or find_program(Path(program.path).name)


def missing(program: Program) -> str:
    """Why there is no such program here and how to get it; empty if there is one that runs."""
    binary = find(program)
    if binary is None:
        return f"there is no {program.name} here: {program.how_to_get}"
    return "" if program_version(binary, "--version") else f"{binary} does not run: {program.how_to_get}"


def required(program: Program, what: str) -> Path:
    """Where the program is; CapabilityMissing, of what it is for, if it is not here."""
    binary = find(program)
    if binary is None:
        raise CapabilityMissing(f"{what}: there is no {program.name} here", hint=program.how_to_get)
    return binary


def fetch(program: Program) -> Path:
    """The path of a program that runs: the one that is here, else one unpacked from apt's package.

    What else we know of in that package is unpacked with it. Raises CapabilityMissing, with the reason, where apt
    cannot give it.
    """
    if found := find(program):
        return found
    missing = [tool for tool in ("apt-get", "dpkg-deb") if shutil.which(tool) is None]
    if missing:
        raise _missing(program, f"is not here, and neither is {missing[0]}")
    target = cache_home() / "bin"
    with tempfile.TemporaryDirectory(prefix=".package-", dir=cache_home()) as folder:
        tree = _unpack(program, _download(program, Path(folder)), Path(folder) / "unpacked")
        _run(program, [str(tree / program.path), "--version"], Path(folder))
        target.mkdir(exist_ok=True)
        for each in PROGRAMS:
            if each.package == program.package and find(each) is None:
                if each.share:
                    _relocate(each, tree, target)
                (tree / each.path).replace(target / each.name)
    return target / program.name


def _relocate(program: Program, tree: Path, target: Path) -> None:
    """Have a binary look for its shared files in `<name>-share` of the folder that it is started in, which gets them.

    Its path is a constant in it. A path of the same length takes its place, as package managers without root do it.
    """
    old, kept = f"/{program.share}".encode(), f"{program.name}-share"
    new = b"." + b"/" * (len(old) - 1 - len(kept)) + kept.encode()
    binary = tree / program.path
    content = binary.read_bytes()
    if old not in content or len(new) != len(old):
        raise _missing(program, f"of this package does not say where its files are ({program.share})")
    binary.write_bytes(content.replace(old, new))
    shutil.copytree(tree / program.share, target / kept, dirs_exist_ok=True)


def _download(program: Program, folder: Path) -> Path:
    """The package file; with apt's own lists, else with fresh ones in `folder` (which needs no root)."""
    lists = folder / "lists"
    (lists / "partial").mkdir(parents=True)
    own_lists = ["-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={folder}", "-o", "APT::Sandbox::User="]
    try:
        _run(program, ["apt-get", "-qq", "-o", "APT::Sandbox::User=", "download", program.package], folder)
    except CapabilityMissing:
        _run(program, ["apt-get", "-qq", *own_lists, "update"], folder)
        _run(program, ["apt-get", "-qq", *own_lists, "download", program.package], folder)
    return next(folder.glob(f"{program.package}_*.deb"))


def _unpack(program: Program, package: Path, folder: Path) -> Path:
    _run(program, ["dpkg-deb", "-x", str(package), str(folder)], package.parent)
    return folder


def _run(program: Program, argv: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(
            argv, cwd=folder, capture_output=True, text=True, timeout=_DOWNLOAD_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _missing(program, f"could not be fetched: {error}") from error
    if done.returncode != 0:
        reason = (done.stderr or done.stdout).strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise _missing(program, f"could not be fetched ({argv[0]}): {reason[0]}")


def _missing(program: Program, why: str) -> CapabilityMissing:
    return CapabilityMissing(f"{program.name} {why}.", hint=program.how_to_get)


def main() -> int:
    """Fetch all; 1 if one of them cannot be had, each with its reason."""
    code = 0
    for program in PROGRAMS:
        try:
            print(f"rehearse: {program.name} is {fetch(program)}", file=sys.stderr)
        except CapabilityMissing as missing:
            print(f"rehearse: {missing}", file=sys.stderr)
            print(f"rehearse: the steps that need {program.name} will be skipped with this reason", file=sys.stderr)
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
