"""The page of a run's loads, one self-contained file made from the record alone, and the same as JSON beside it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from harness.report import _load_page, _load_time
from harness.report._view import keys
from harness.report.record import RunRecord
from harness.report.render import environment
from harness.report.store import record_text, write_text

PAGE, DATA = "load.html", "load.json"
_TOLD = (
    "run_id", "title", "backend", "command", "started_at", "status", "loads", "scaling", "capacity", "environment",
    "versions",
)  # fmt: skip


def write_load(record: RunRecord, folder: Path) -> Path | None:
    """Write folder/load.html and folder/load.json; returns the page's path, None for a run without a load."""
    if not record.loads:
        return None
    write_text(folder / DATA, load_text(record) + "\n")
    return write_text(folder / PAGE, page(record))


def load_text(record: RunRecord) -> str:
    """What of run.json is about loads, with each load's verdict; secrets masked."""
    data = json.loads(record_text(record))
    for load, told in zip(record.loads, data["loads"], strict=True):
        told["verdict"] = _load_page.verdict(load).badge
    return json.dumps({name: data[name] for name in _TOLD}, indent=1, ensure_ascii=False)


def page(record: RunRecord) -> str:
    """The page as text; it loads nothing from anywhere, and no secret is on it."""
    clean = RunRecord.model_validate_json(record_text(record))
    known = keys(clean)
    stories = [_load_time.story(clean, load, known) for load in clean.loads]
    text = environment().get_template("load.html").render(
        run=clean, keys=known, stories=stories, load_time=_load_time
    )  # fmt: skip
    return re.sub(r"\n\s*\n+", "\n", text)
