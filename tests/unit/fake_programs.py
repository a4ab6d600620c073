"""Programs in the place of real ones: shell scripts, first on PATH, that write down how they were called."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class FakePrograms:
    """A folder at the start of PATH; `calls` has a line for each call: the name and its arguments."""

    folder: Path

    def put(self, name: str, script: str = "") -> None:
        """A program that runs the lines of `script`, with its arguments in $@ and the folder of all fakes in $FAKES."""
        path = self.folder / name
        record = f'echo "{name} $*" >> {self.folder}/calls.log'
        path.write_text(f"#!/bin/sh\nFAKES={self.folder}\n{record}\n{script}\n", encoding="utf-8")
        path.chmod(0o755)

    def calls(self) -> list[str]:
        """Every call so far, in order."""
        log = self.folder / "calls.log"
        return log.read_text(encoding="utf-8").splitlines() if log.exists() else []


def fake_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, alone: bool = False) -> FakePrograms:
    """An empty folder of fakes; `alone`: the only one on PATH, so that what is not faked is not here."""
    folder = tmp_path / "fakes"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder) if alone else f"{folder}:/usr/sbin:/usr/bin:/sbin:/bin")
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    return FakePrograms(folder)
