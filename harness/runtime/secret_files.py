"""Secrets of a run: made anew for each, in files that only their owner reads, outside of the run's folder."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from pathlib import Path

BYTES = 32


class SecretFiles:
    """A folder (0700) of files (0600), one a secret; gone after `close`."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="rehearsal-secrets-"))

    def new(self, name: str) -> tuple[str, Path]:
        """A new random secret of 43 letters, digits, '-' and '_', and the file that has it."""
        value = secrets.token_urlsafe(BYTES)
        return value, self.write(name, value)

    def write(self, name: str, text: str) -> Path:
        """A new file with a text that has secrets in it."""
        path = self.folder / name
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
