"""The page of a drift bench, one self-contained file, and the figures as JSON beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.report import _drift_view
from harness.report.render import environment
from harness.report.store import write_text

if TYPE_CHECKING:
    from harness.drift_bench import BenchResult


def write_bench(found: BenchResult, folder: Path) -> Path:
    """Write folder/drift-bench.json and folder/index.html; returns the page's path."""
    write_text(folder / "drift-bench.json", found.model_dump_json(indent=1) + "\n")
    page = environment().get_template("drift-bench.html").render(found=found, drift_view=_drift_view)
    return write_text(folder / "index.html", page)
