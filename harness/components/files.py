"""The files of a recipe on disk: each is written beside its target and renamed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from harness.components.component import LOOPBACK, Component, fill


def write_files(component: Component, folder: Path, ports: Mapping[str, int], *, host: str = LOOPBACK) -> None:
    """Write the recipe's files below `folder`, each beside its target and renamed."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, template in component.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        private = name in component.private
        replace_text(path, fill(template, folder=folder, ports=ports, host=host), beside=path.parent, private=private)


def replace_text(path: Path, text: str, *, beside: Path, private: bool = False) -> None:
    """Write `text` to a new file in `beside` (same file system) and rename it to `path`.

    Nobody but its owner reads one that is `private`, at no moment.
    """
    temporary = beside / f".{path.name}.{os.getpid()}.new"
    temporary.unlink(missing_ok=True)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o666)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)
