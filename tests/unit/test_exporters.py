"""The list of what Prometheus scrapes beside the gateway and the replicas."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.backends.embedded.backend import EmbeddedBackend
from harness.backends.embedded.targets import exporters_file
from harness.runtime.events import EventLog

MANY = 200


def test_parts_that_start_together_are_all_listed(tmp_path: Path) -> None:
    """Each adds its own exporter in a thread of its own; none is lost, and no list is half-written."""
    events = EventLog(tmp_path / "events.jsonl")
    backend = EmbeddedBackend(tmp_path, events)
    try:
        with ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(backend._scrape, f"part-{n}", f"127.0.0.1:{n}") for n in range(MANY)]:
                done.result()
    finally:
        backend.close()
        events.close()
    listed = json.loads(exporters_file(tmp_path).read_text(encoding="utf-8"))
    assert {entry["labels"]["exporter"] for entry in listed} == {f"part-{n}" for n in range(MANY)}
