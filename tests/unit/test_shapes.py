"""Shapes of load: every request of one is due exactly when the rate says so, whatever shares send it."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import ConfigError
from harness.load.arrivals import due_times
from harness.load.shape_file import parse_shape, read_shape, shape_of
from harness.load.shapes import SHAPES, Diurnal, Ramp, Shape, Soak, Spike, Steady, Step

FINITE: list[Shape] = [
    Step((10.0, 0.0, 40.0), 2.0),
    Ramp(5, 45, 4, 2),
    Ramp(40, 0, 5),
    Ramp(0, 30, 3, 1),
    Spike(10, 100, 2, 1, 3),
    Spike(0, 100, 2, 1, 3),
    Soak(50, 2, 5),
    Diurnal(0, 60, 12, 2),
]


def due(shape: Shape, *args: Any) -> list[float]:
    return list(due_times("constant", shape, *args))


@pytest.mark.parametrize("shape", FINITE, ids=Shape.text)
def test_the_kth_request_is_due_when_the_shape_has_had_k(shape: Shape) -> None:
    """The integral of the rate and its inverse agree, and the shape ends with its last request."""
    times = due(shape)
    assert shape.duration_s is not None
    total = shape.requests(shape.duration_s)
    assert total - 1e-6 <= len(times) <= total + 1
    assert times == sorted(times)
    assert times[-1] < shape.duration_s
    for number, at in enumerate(times):
        assert shape.requests(at) == pytest.approx(number, abs=1e-9 * total)


def test_hand_computed_times() -> None:
    """A ramp from 0 to 20 in 10 s has had t^2 requests by t; a spike of 100 a second for 1 s begins at 2 s."""
    assert due(Ramp(0, 20, 10))[:5] == pytest.approx([0, 1, 2**0.5, 3**0.5, 2])
    assert due(Ramp(20, 0, 10))[-1] == pytest.approx(10 - 1)
    assert due(Spike(10, 100, 2, 1, 1))[19:23] == pytest.approx([1.9, 2.0, 2.01, 2.02])
    assert due(Step((1, 0, 1), 3)) == [0.0, 1.0, 2.0, 6.0, 7.0, 8.0]
    assert (Diurnal(20, 200, 24).pieces()[0].low, Diurnal(20, 200, 24).highest_rps) == (20.0, 200.0)
    assert Spike(10, 100, 2, 1, 1).mean_rps == pytest.approx((10 * 3 + 100) / 4)
    assert (Steady(30).duration_s, Steady(30).mean_rps, Steady(30).requests(2)) == (None, 30, 60)


@settings(deadline=None)
@given(
    rates=st.lists(st.floats(0, 500), min_size=1, max_size=6).filter(lambda rates: max(rates) > 1),
    each_s=st.floats(0.01, 20),
    shares=st.integers(1, 5),
)
def test_shares_send_every_request_once(rates: list[float], each_s: float, shares: int) -> None:
    """Request k, k + n, k + 2n, ... of share k are the requests of the whole."""
    shape = Step(tuple(rates), each_s)
    parts = [due(shape, 0, share, shares) for share in range(shares)]
    assert sorted(itertools.chain(*parts)) == due(shape)


def test_poisson_arrivals_follow_the_shape() -> None:
    """The counts of both halves of a step are Poisson around their own rate; the seed alone decides."""
    shape = Step((50.0, 200.0), 10.0)
    runs = [list(due_times("poisson", shape, seed)) for seed in range(60)]
    low, high = ([sum(first <= at < first + 10 for at in run) for run in runs] for first in (0, 10))
    assert statistics.mean(low) == pytest.approx(500, rel=0.02)
    assert statistics.mean(high) == pytest.approx(2000, rel=0.02)
    assert statistics.variance(high) == pytest.approx(2000, rel=0.5)
    assert runs[0] == list(due_times("poisson", shape, 0)) != runs[1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"kind": "steady", "rps": -5}, "load.shape: steady.rps: expected a number from 0.1 to 20000, got -5"),
        ({"kind": "ramp", "from_rps": -1}, "load.shape: ramp.from_rps: expected a number from 0 to 20000, got -1"),
        ({"kind": "step", "rates_rps": [10, -1]}, "step.rates_rps: expected a number from 0 to 20000, got -1"),
        ({"kind": "step", "rates_rps": []}, "step.rates_rps: expected a list of 1 to 1000 numbers, got []"),
        ({"kind": "step", "rates_rps": "5"}, "step.rates_rps: expected a list of 1 to 1000 numbers, got '5'"),
        ({"kind": "step", "rates_rps": [0, 0]}, "load.shape: step has no request: every rate is 0"),
        ({"kind": "spike", "peak_s": 0}, "load.shape: spike.peak_s: expected a number from 0.001 to 86400, got 0"),
        ({"kind": "soak", "rps": True}, "load.shape: soak.rps: expected a number from 0.1 to 20000, got True"),
        ({"kind": "soak", "hold_s": float("inf")}, "soak.hold_s: expected a number from 0.001 to 86400, got inf"),
        ({"kind": "diurnal", "days": 2.5}, "load.shape: diurnal.days: expected a whole number, got 2.5"),
        ({"kind": "diurnal", "days": 2, "day_s": 86400}, "diurnal lasts 172800 s, at most 86400 s are allowed"),
        ({"kind": "ramp", "rps": 5}, "load.shape: ramp has no rps; it has from_rps, to_rps, ramp_s, hold_s"),
        ({"kind": "wave"}, "load.shape: expected steady, step, ramp, spike, soak, diurnal, replay, or a .toml file"),
        ({}, "load.shape: expected steady"),
        ({"kind": "replay"}, "no such trace"),
    ],
)
def test_a_shape_that_makes_no_sense_is_one_clear_line(content: Mapping[str, Any], words: str) -> None:
    """The field and what is allowed, from whatever file or flag it comes."""
    with pytest.raises(ConfigError if "trace" not in words else Exception) as caught:
        shape_of(content)
    assert words in str(caught.value)


def test_a_shape_in_a_line_is_the_same_again(tmp_path: Path) -> None:
    """`text` is what `rehearse load --shape` takes."""
    for shape in FINITE:
        assert parse_shape(shape.text()) == shape
        assert shape_of({"kind": shape.kind, **shape.parameters()}) == shape
    assert parse_shape("spike") == Spike()
    assert parse_shape("step:rates_rps=10/0.5,each_s=3") == Step((10, 0.5), 3)
    with pytest.raises(ConfigError, match="expected ramp:field=value,field=value, got 'fast'"):
        parse_shape("ramp:fast")
    with pytest.raises(ConfigError, match=r"ramp.ramp_s: expected a number from 0.001 to 86400, got 'long'"):
        parse_shape("ramp:ramp_s=long")


def test_a_shape_in_a_file_names_the_file_when_it_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('kind = "ramp"\nto_rps = 60\n')
    assert parse_shape(str(file)) == Ramp(to_rps=60)
    file.write_text('kind = "ramp"\nto_rps = -60\n')
    with pytest.raises(ConfigError, match=r"mine.toml: load.shape: ramp.to_rps: expected a number from 0 to 20000"):
        read_shape(file)
    file.write_text("kind = ramp")
    with pytest.raises(ConfigError, match=r"mine.toml: not TOML"):
        read_shape(file)
    with pytest.raises(ConfigError, match=r"none.toml: no such file"):
        read_shape(tmp_path / "none.toml")


@pytest.mark.parametrize("file", sorted(Path("manifests/shapes").glob("*.toml")), ids=lambda path: path.stem)
def test_the_shapes_of_the_manifests_are_shapes(file: Path) -> None:
    """Named after their kind."""
    assert read_shape(file).kind == file.stem


@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
def test_every_field_of_a_shape_has_its_bounds(shape: type[Shape]) -> None:
    """One without would take any value."""
    assert list(shape.allowed) == [field.name for field in fields(shape)]
