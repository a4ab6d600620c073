"""Evidently's pages of judged windows, drawn by a process beside the one that judges."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from harness.lifecycle._comparison import Comparison
from harness.report.record import DriftRecord

KEPT = 20
"""So many pages are kept, the newest: one has 4 MB."""
FOLDER = "pages"


class Pages:
    """Draws in `out`/pages, one page after another."""

    def __init__(self, out: Path) -> None:
        self._folder = out / FOLDER
        self._folder.mkdir(parents=True, exist_ok=True)
        argv = [sys.executable, "-P", "-m", "harness.lifecycle.drift_page"]
        self._drawing = subprocess.Popen(argv, stdin=subprocess.PIPE, text=True, bufsize=1)

    def draw(self, pair: Comparison, record: DriftRecord, reference: str, name: str) -> str:
        """Have a window's page drawn; returns its path below the folder of the verdicts."""
        page, window = self._folder / f"{name}.html", self._folder / f"{name}.parquet"
        pair.raw[1].to_parquet(window)
        spec = {
            "reference": reference,
            "window": str(window),
            "name": record.window,
            "thresholds": {column.column: column.threshold for column in record.columns},
            "html": str(page),
        }
        assert self._drawing.stdin is not None
        self._drawing.stdin.write(json.dumps(spec) + "\n")
        for old in sorted(self._folder.glob("*.html"))[:-KEPT]:
            old.unlink(missing_ok=True)
        return f"{FOLDER}/{page.name}"

    def close(self) -> None:
        """Let it finish what it was given."""
        assert self._drawing.stdin is not None
        self._drawing.stdin.close()
        self._drawing.wait()
