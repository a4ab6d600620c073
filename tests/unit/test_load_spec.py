"""A load that makes no sense is refused before anything is started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.errors import ConfigError
from harness.load import LoadSpec


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"rps": 0}, "load.rps: expected a number from 0.1 to 20000, got 0"),
        ({"rps": float("inf")}, "load.rps"),
        ({"max_s": -1}, "load.max_s"),
        ({"connections": 0}, "load.connections"),
        ({"rps": True}, "load.rps"),
        ({"arrivals": "bursts"}, "load.arrivals: expected constant or poisson, got 'bursts'"),
        ({"processes": 0}, "load.processes: expected a whole number from 1 to"),
        ({"workers": -1}, "load.workers: expected a whole number from 0 to 1000, got -1"),
        ({"workers": 3, "processes": 2}, "load.workers: expected processes or workers, not 2 and 3"),
        ({"processes": 4096}, "load.processes: expected a whole number from 1 to"),
        ({"users": -1}, "load.users: expected a whole number from 0 to"),
        ({"users": 2.5}, "load.users: expected a whole number from 0 to"),
        ({"path": "v1"}, "load.path: expected a path that starts with '/', got 'v1'"),
        ({"payload": Path("no-such-file")}, "load.payload: no-such-file is missing or empty"),
    ],
)
def test_a_load_that_makes_no_sense_is_one_clear_line(tmp_path: Path, fields: dict[str, Any], words: str) -> None:
    """The field and what is allowed."""
    payload = tmp_path / "payload.jsonl"
    payload.write_text("{}\n")
    with pytest.raises(ConfigError) as caught:
        LoadSpec(**{"name": "a", "url": "http://x", "host": "h", "path": "/v1", "payload": payload, **fields})
    assert words in str(caught.value)
