"""The page of an equivalence run, one self-contained file, and the same as JSON beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from harness.report.render import environment
from harness.report.store import write_text

if TYPE_CHECKING:
    from harness.equivalence import Comparison


def write_equivalence(comparison: Comparison, folder: Path) -> Path:
    """Write folder/equivalence.json and folder/index.html; returns the page's path."""
    from harness.runtime.redact import redact

    clean = redact(comparison.as_json())
    write_text(folder / "equivalence.json", json.dumps(clean, indent=1, ensure_ascii=False) + "\n")
    page = environment().get_template("equivalence.html").render(found=clean, order=("defect", "missing capability"))
    return write_text(folder / "index.html", page)
