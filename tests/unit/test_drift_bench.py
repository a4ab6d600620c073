"""The drift bench: seeded, honest intervals, and which tests see which shift."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.cli import run_command
from harness.drift_bench import CATALOGUE, Plan, run
from harness.drift_bench.bench import share
from harness.drift_bench.population import draw
from harness.drift_bench.shifts import unshifted

SMALL = Plan(unshifted=5, trials=3, windows=3, rows=400, reference_rows=2_000, references=1, false_alarms_per_day=0.5)
NAMED = {each.name: each for each in CATALOGUE}


def test_the_interval_of_a_share_is_exact() -> None:
    """The textbook case: none of 10 is at most 30.8 %, 8 of 10 is from 44.4 to 97.5 % (Clopper and Pearson, 1934)."""
    none, eight = share(0, 10), share(8, 10)

    assert (none.low, round(none.high, 3)) == (0.0, 0.308)
    assert (round(eight.low, 3), round(eight.high, 3)) == (0.444, 0.975)


def test_columns_are_blind_for_a_broken_correlation_and_pairs_are_not() -> None:
    found = run(SMALL, shifts=(NAMED["correlation break"], NAMED["mean"], NAMED["concept"]))
    broken, mean, concept = found.shifts

    assert set(broken.by) == {"pairs"}
    assert "data" in mean.by
    assert set(concept.by) == {"quality"}
    assert broken.found.count == mean.found.count == 3


def test_the_same_seed_gives_the_same_figures() -> None:
    small = replace(SMALL, trials=1, windows=2)

    def figures() -> dict[str, object]:
        return run(small, shifts=(NAMED["slow ramp"],)).model_dump(exclude={"took_s"})

    assert figures() == figures()


def test_every_shift_changes_its_windows_and_no_other_column() -> None:
    """Of the shifts of one column the others are drawn as they were."""
    changed = {"mean": {"sleep"}, "scale": {"sleep"}, "category swap": {"plan"}, "missing values": {"glucose"}}
    for name, columns in changed.items():
        plain, made = (make(np.random.default_rng(3), 500, 0) for make in (unshifted, NAMED[name].make))
        features = draw(np.random.default_rng(3), 5).columns
        assert {each for each in features if not plain[each].equals(made[each])} == columns, name


def test_the_command_writes_a_page_and_json_and_says_what_it_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = [
        "--unshifted",
        "5",
        "--trials",
        "1",
        "--windows",
        "1",
        "--reference-rows",
        "2000",
        "--reports",
        str(tmp_path),
    ]
    assert run_command(["drift-bench", *few, "--shift", "mean"]) == 0
    out = capsys.readouterr().out
    page = Path(out.splitlines()[-1].removeprefix("page: "))
    assert "What sees what" in page.read_text(encoding="utf-8")
    assert json.loads((page.parent / "drift-bench.json").read_text())["shifts"][0]["name"] == "mean"

    assert run_command(["drift-bench", "--shift", "nothing"]) == 2
    assert "--shift: expected mean, scale, category swap" in capsys.readouterr().err
    assert run_command(["drift-bench", "--rows", "0"]) == 2
