"""Where no browser is here and apt may not be used, the tests of the pages say what to install."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.errors import CapabilityMissing
from tests.browser import chromium


def test_without_root_the_reason_is_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("REHEARSAL_STATE", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(CapabilityMissing, match=r"Chromium.* is not here.*apt-get install chromium"):
        chromium.program()


def test_the_one_that_is_here_is_taken_whatever_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "google-chrome"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert chromium.program() == str(program)
