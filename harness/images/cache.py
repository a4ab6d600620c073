"""The cache: what was made lies in a folder named by the digest of everything that it was made from.

cache/images/ITEM/KEY/ is whole or not there: it is filled beside its place and renamed. `made.json` in it says how long
that took. One build at a time holds the cache's lock; what a killed one left half-made goes at the next.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.runtime.paths import cache_home

KEY_LENGTH = 16
KEPT_KEYS = 2
"""How many states of one item stay: the newest, and the one before it, which another checkout may use."""
_HALF_MADE = ".half-"


@dataclass(frozen=True)
class Made:
    """What is in the cache of one item: where, for which key, made how ("built", "pulled") and in which time."""

    folder: Path
    key: str
    how: str
    seconds: float
    size: int


def home() -> Path:
    """The folder of all that the catalogue makes."""
    return cache_home() / "images"


def key_of(inputs: Iterable[str], needs: Mapping[str, str]) -> str:
    """The key of an item: a digest of its inputs' texts, in order, and of the keys of what it needs."""
    digest = hashlib.sha256()
    for text in (*inputs, *(f"{name}={key}" for name, key in sorted(needs.items()))):
        digest.update(f"{len(text)}:".encode() + text.encode())
    return digest.hexdigest()[:KEY_LENGTH]


def digest_of_files(paths: Iterable[Path], base: Path) -> list[str]:
    """One text a file, in the order of their names below `base`: name and digest, as inputs of `key_of`."""
    named = sorted((path.relative_to(base).as_posix(), path) for path in paths)
    return [f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}" for name, path in named]


def look_up(item: str, key: str) -> Made | None:
    """What the cache has for this key of an item."""
    folder = _room(item) / key
    try:
        notes = json.loads((folder / "made.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return Made(folder, key, notes["how"], notes["seconds"], notes["size"])


def keep(item: str, key: str, fill: Callable[[Path], None], *, how: str = "built") -> Made:
    """Let `fill` write into a fresh folder, and give it its place; if `fill` fails, nothing of it stays."""
    room = _room(item)
    half = room / f"{_HALF_MADE}{key}"
    shutil.rmtree(half, ignore_errors=True)
    half.mkdir(parents=True)
    began = time.monotonic()
    try:
        fill(half)
        made = Made(room / key, key, how, round(time.monotonic() - began, 2), size_of(half))
        notes = {name: value for name, value in asdict(made).items() if name != "folder"}
        (half / "made.json").write_text(json.dumps(notes), encoding="utf-8")
        shutil.rmtree(room / key, ignore_errors=True)
        half.rename(room / key)
    finally:
        shutil.rmtree(half, ignore_errors=True)
    _prune(room)
    return made


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def file_name(item: str) -> str:
    """An item's id as the name of a file."""
    return item.replace("/", "_").replace(":", "_")


@contextlib.contextmanager
def locked(waiting: Callable[[], None]) -> Iterator[None]:
    """One build at a time; `waiting` is called once if another one runs. Clears what a killed build left."""
    home().mkdir(parents=True, exist_ok=True)
    descriptor = os.open(home() / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        for half in home().glob(f"*/{_HALF_MADE}*"):
            shutil.rmtree(half, ignore_errors=True)
        yield
    finally:
        os.close(descriptor)


def _room(item: str) -> Path:
    return home() / file_name(item)


def _prune(room: Path) -> None:
    states = sorted(room.glob("*/made.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in states[KEPT_KEYS:]:
        shutil.rmtree(old.parent, ignore_errors=True)
