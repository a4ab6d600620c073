"""The lists of what Prometheus scrapes, in its own format (file_sd): replicas, and exporters."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.backends.embedded.replicas import replicas_folder
from harness.components.files import replace_text
from harness.errors import PlatformError


def targets_file(folder: Path) -> Path:
    """Where a controller with this folder lists its replicas."""
    return replicas_folder(folder) / "targets.json"


def exporters_file(folder: Path) -> Path:
    """Where a platform with this folder lists what else has series: Prometheus, contained or not, can read it there."""
    return replicas_folder(folder) / "exporters.json"


class Targets:
    """The one writer of a list."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._written = ""

    def write(self, targets: Iterable[dict[str, Any]]) -> None:
        """Make the list so; PlatformError if it cannot be written."""
        text = json.dumps(list(targets))
        if text == self._written:
            return
        try:
            replace_text(self.path, text, beside=self.path.parent)
        except OSError as error:
            raise PlatformError(f"cannot write {self.path}: {error.strerror}") from error
        self._written = text
