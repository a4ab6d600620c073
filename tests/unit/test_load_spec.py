"""A load that makes no sense is refused before anything is started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.errors import ConfigError
from harness.load import LoadSpec
from harness.load.shapes import Shape, Spike, Steady, Step


def told(payload: Path) -> dict[str, Any]:
    return {"name": "a", "url": "http://x", "host": "h", "path": "/v1", "payload": payload, "shape": Steady(50)}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"max_s": -1}, "load.max_s"),
        ({"connections": 0}, "load.connections"),
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
        LoadSpec(**{**told(payload), **fields})
    assert words in str(caught.value)


def test_the_shape_alone_says_the_rate(tmp_path: Path) -> None:
    """A second word for it would sooner or later say another rate."""
    payload = tmp_path / "payload.jsonl"
    payload.write_text("{}\n")
    with pytest.raises(TypeError, match="unexpected keyword argument 'rps'"):
        LoadSpec(**{**told(payload), "rps": 100})


@pytest.mark.parametrize(
    ("shape", "run_time_s", "first_s"),
    [(Step((0, 10), 15), 40, 15), (Spike(before_s=0, after_s=0), 40, 0), (Steady(50), 30, 0)],
)
def test_locust_does_not_cut_a_shape_short(tmp_path: Path, shape: Shape, run_time_s: int, first_s: float) -> None:
    """A shape may last as long as its load; Locust counts from before it begins. One rate ends when its time is up."""
    payload = tmp_path / "payload.jsonl"
    payload.write_text("{}\n")
    spec = LoadSpec("a", "http://x", "h", "/v1", payload, shape, max_s=30)
    assert (spec.run_time_s, spec.first_s) == (run_time_s, first_s)
