"""The files of a diagnosis: each of bounded size, all together too, with a list of what was left out."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.report.store import write_text


@dataclass(frozen=True)
class Bounds:
    """How much is collected at most: in all (MB, seconds), of each file (KB), objects of a kind, lines of a log."""

    seconds: float = 30.0
    total_mb: float = 16.0
    file_kb: float = 256.0
    objects: int = 40
    log_lines: int = 2000
    shared_log_lines: int = 300


class Shelf:
    """Writes files below a folder within bounds; from any thread."""

    def __init__(self, folder: Path, bounds: Bounds) -> None:
        self.folder = folder
        self.missed: list[str] = []
        self.files: dict[str, str] = {}  # path below the folder -> what it is
        self._bounds = bounds
        self._left = int(bounds.total_mb * 2**20)
        self._lock = threading.Lock()

    def put(self, path: Sequence[str], text: str, what: str, *, keep: Literal["head", "tail"] = "head") -> str:
        """Write one file, cut to its bound at the end that matters less; its path below the folder, "" if not."""
        most = int(self._bounds.file_kb * 1024)
        data = text.encode("utf-8")
        if len(data) > most:
            part = (data[:most] if keep == "head" else data[-most:]).decode("utf-8", "ignore")
            cut = f"[{len(data) - most} bytes were left out here]\n"
            text = part + f"\n{cut}" if keep == "head" else cut + part
        name = "/".join(safe(step) for step in path)
        with self._lock:
            size = len(text.encode("utf-8"))
            if size > self._left:
                self.missed.append(f"{name}: no room left, {self._bounds.total_mb:g} MB are kept in all")
                return ""
            self._left -= size
            self.files[name] = what
        write_text(self.folder / name, text)
        return name

    def miss(self, what: str) -> None:
        """Note something that could not be had, once."""
        with self._lock:
            if what not in self.missed:
                self.missed.append(what)


def safe(name: str) -> str:
    """A name of the cluster as the name of a file: what could lead elsewhere is replaced."""
    clean = "".join(char if char.isalnum() or char in "-_.:" else "_" for char in name)
    return clean.lstrip(".") or "_"
