"""Layers as tar files: Debian's packages brought into the base's shape, and folders packed the same way each time."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

LAYER = "layer.tar"
"""The name of the tar file in every part that is a layer."""

_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_MACHINE = ("dev", "proc", "sys", "run", "tmp", "var/lib/dpkg", "var/lib/apt", "var/cache", "var/log", "etc/apt")
_UNREAD = tuple(f"usr/share/{name}" for name in ("doc", "man", "info", "locale", "lintian", "bug"))


def layer_path(name: str, drop: Iterable[str]) -> str | None:
    """Where a file of a package lies in a merged-/usr root; None if it stays out of the layer.

    `drop` has shell patterns over the path without its leading slash.
    """
    path = str(PurePosixPath("/", name))[1:]
    first, _, rest = path.partition("/")
    if first in _MERGED:
        path = f"usr/{first}/{rest}".rstrip("/")
    if path in ("", *_MERGED) or any(_below(path, folder) for folder in (*_MACHINE, *_UNREAD)):
        return None
    return None if any(fnmatch(path, pattern) for pattern in drop) else path


def shaped(source: Path, target: Path, *, drop: Iterable[str] = (), links: Iterable[tuple[str, str]] = ()) -> None:
    """Writes a layer from a tar file of extracted packages; `links` are symbolic ones, (path, what it points to)."""
    patterns = tuple(drop)
    with tarfile.open(source) as packages, tarfile.open(target, "w") as layer:
        for member in packages:
            if (path := layer_path(member.name, patterns)) is None:
                continue
            member.name = path
            if member.islnk():
                member.linkname = layer_path(member.linkname, ()) or member.linkname
            layer.addfile(member, packages.extractfile(member) if member.isreg() else None)
        for path, to in links:
            layer.addfile(_entry(path, tarfile.SYMTYPE, linkname=to))


def pack(folder: Path, target: Path, *, below: str = "", skip: Callable[[Path], bool] = lambda path: False) -> None:
    """Writes a layer with everything in `folder`, below `below`: root's, in one order, without times."""
    with tarfile.open(target, "w") as layer:
        for parent in reversed(PurePosixPath(below).parents if below else ()):
            if str(parent) != ".":
                layer.addfile(_entry(str(parent), tarfile.DIRTYPE))
        if below:
            layer.addfile(_entry(below, tarfile.DIRTYPE))
        for path in _walk(folder, skip):
            name = str(PurePosixPath(below, path.relative_to(folder).as_posix()))
            if path.is_symlink():
                layer.addfile(_entry(name, tarfile.SYMTYPE, linkname=str(path.readlink())))
            elif path.is_dir():
                layer.addfile(_entry(name, tarfile.DIRTYPE))
            else:
                _add(layer, name, path)


def _walk(folder: Path, skip: Callable[[Path], bool]) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if skip(path):
            continue
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path, skip)


def _add(layer: tarfile.TarFile, name: str, path: Path) -> None:
    status = path.stat()
    entry = _entry(name, tarfile.REGTYPE, mode=0o755 if status.st_mode & 0o100 else 0o644)
    entry.size = status.st_size
    with path.open("rb") as file:
        layer.addfile(entry, file)


def _entry(name: str, kind: bytes, *, linkname: str = "", mode: int = 0o755) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name.lstrip("/"))
    entry.type, entry.linkname, entry.mode = kind, linkname, mode
    return entry


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")
