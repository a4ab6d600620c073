"""The page of a comparison, one self-contained file, and the same as JSON beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from harness.report import _compare_view
from harness.report.record import RunRecord
from harness.report.render import environment
from harness.report.store import write_text
from harness.runtime.redact import redact, redact_text

if TYPE_CHECKING:
    from harness.compare import Comparison, Key, Sample


def write_comparison(
    found: Comparison,
    before: tuple[RunRecord, Mapping[Key, Sample]],
    after: tuple[RunRecord, Mapping[Key, Sample]],
    folder: Path,
) -> Path:
    """Write folder/compare.json and folder/index.html; returns the page's path."""
    runs = {"A": before[0].run_id, "B": after[0].run_id}
    data = redact({"runs": runs, **found.as_json()})
    write_text(folder / "compare.json", json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    page = environment().get_template("compare.html").render(
        found=found, a=before[0], b=after[0], samples=(before[1], after[1]), compare_view=_compare_view
    )  # fmt: skip
    return write_text(folder / "index.html", redact_text(page))
