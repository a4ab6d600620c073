"""The event log: what it writes and tells has no secret in it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from harness.runtime.events import Event, EventLog

SECRET = "hunter2hunter2"


def test_no_secret_reaches_the_file_or_a_listener(tmp_path: Path) -> None:
    """Neither in the words, nor in data by name or by form, nor in what is no JSON."""
    told: list[Event] = []
    with closing(EventLog(tmp_path / "events.jsonl")) as events:
        events.listen(told.append)
        events.emit(
            "step.failed",
            f"postgres://u:{SECRET}@db",
            f"cannot reach postgres://u:{SECRET}@db",
            detail=f"tried postgres://u:{SECRET}@db twice",
            token=SECRET,
            error=OSError(f"postgres://u:{SECRET}@db"),
        )
    written = (tmp_path / "events.jsonl").read_text(encoding="utf-8")
    assert "cannot reach postgres://u:***@db" in written
    assert SECRET not in written
    assert told[0].data["detail"] == "tried postgres://u:***@db twice"
    assert SECRET not in told[0].message + told[0].subject + told[0].data["token"]
