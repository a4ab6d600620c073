"""Debian's share: root file systems by mmdebstrap, and packages unpacked as a layer above one of them.

Packages and keys come from where this machine's own apt gets them if it is of the same suite, else from where
mmdebstrap does. No name of a mirror stays in an image.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Mapping
from pathlib import Path

from harness.images import apt
from harness.images.archive import LAYER, shaped
from harness.images.catalogue import Catalogue, Item
from harness.images.making import Making

SUITE = "bookworm"
"""Debian 12: the last with a systemd that runs on cgroup v1 too."""
STATUS = "status"
_FORMAT = "debian 1"
_TOOL = "mmdebstrap"
_WHAT = "mmdebstrap, which puts Debian's packages into images,"
_TIMEOUT_S = 900
_ASK_TIMEOUT_S = 10
_INSTALLING = threading.Lock()  # roots are made side by side; apt works alone
_UNREAD = ("man", "doc", "info", "locale", "lintian", "bug")
_FORGET = (
    'cd "$1" && find etc/apt/apt.conf.d -type f ! -name 00mmdebstrap -delete'  # mmdebstrap takes its own away itself
    " && rm -rf etc/apt/sources.list* var/lib/apt/lists/* var/cache/* var/log/*"
)


def require(item: Item, catalogue: Catalogue) -> None:
    """CapabilityMissing where there is no mmdebstrap and none can be installed."""
    if shutil.which(_TOOL) is None:
        apt.require(_TOOL, what=_WHAT)


def inputs(item: Item, catalogue: Catalogue) -> list[str]:
    """The suite; the packages are in the entry."""
    return [_FORMAT, SUITE]


def make_root(making: Making) -> None:
    """A root file system of the essential packages and the entry's, configured; and what dpkg knows of it."""
    layer = making.folder / LAYER
    options = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _UNREAD]
    _mmdebstrap(making, "essential", layer, *options, f"--customize-hook={_FORGET}")
    with tarfile.open(layer) as root:
        status = root.extractfile("./var/lib/dpkg/status")
        (making.folder / STATUS).write_bytes(status.read() if status else b"")


def make_packages(making: Making) -> None:
    """The entry's packages, and what of their dependencies its root lacks, unpacked; nothing of them is run."""
    scratch = making.scratch()
    root = making.part(making.item.options["root"])
    shutil.copyfile(root / STATUS, scratch / STATUS)
    unpacked = scratch / "unpacked.tar"
    _mmdebstrap(making, "extract", unpacked, f'--setup-hook=cp {scratch / STATUS} "$1"/var/lib/dpkg/status')
    links: Mapping[str, str] = making.item.options.get("links", {})
    shaped(unpacked, making.folder / LAYER, drop=making.item.options.get("drop", ()), links=links.items())
    shutil.rmtree(scratch)


def own_sources(files: Mapping[Path, str], suite: str) -> list[Path]:
    """Those of apt's own source files (path to text) that name Debian's archive of this suite."""
    archive = re.compile(r"^\s*(?:URIs:\s*\S*/debian(?:-security)?/?\s*$|deb\s.*?/debian(?:-security)?/?\s)", re.M)
    return [path for path, text in files.items() if archive.search(text) and re.search(rf"\b{suite}\b", text)]


def own_acquire(dump: str) -> list[str]:
    """Proxies and certificates of apt's own configuration (`apt-config dump`), as options of mmdebstrap."""
    wanted = re.compile(r"Acquire::https?::\S*(?:Proxy\S*|CaInfo|CAInfo) \"[^\"]+\";")
    return [f"--aptopt={line}" for line in dump.splitlines() if wanted.fullmatch(line.strip())]


def _mmdebstrap(making: Making, variant: str, target: Path, *options: str) -> None:
    with _INSTALLING:
        if shutil.which(_TOOL) is None:
            apt.install(_TOOL, what=_WHAT)
    packages = ",".join(making.item.options["packages"])
    sources = [str(path) for path in own_sources(_source_files(), SUITE)]
    argv = [_TOOL, f"--variant={variant}", "--format=tar", f"--include={packages}", *options, *_acquire()]
    # /tmp may be small, and in memory; but without root mmdebstrap's own user must reach the folder.
    env = {**os.environ, **({"TMPDIR": str(making.folder)} if os.geteuid() == 0 else {})}
    making.run(*argv, SUITE, str(target), *sources, env=env, timeout_s=_TIMEOUT_S)


def _acquire() -> list[str]:
    if shutil.which("apt-config") is None:
        return []
    done = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, timeout=_ASK_TIMEOUT_S, check=False)
    return own_acquire(done.stdout)


def _source_files() -> dict[Path, str]:
    folder = Path("/etc/apt")
    found = (*folder.glob("sources.list"), *sorted((folder / "sources.list.d").glob("*")))
    return {path: path.read_text(errors="replace") for path in found if path.suffix in (".list", ".sources")}
