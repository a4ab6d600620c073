"""Every kind of page that Rehearsal writes, made from samples: name -> a function that writes it into a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.compare import compare, samples
from harness.compare.trend import trend
from harness.equivalence import Outcome, Verdict, WorldRun
from harness.equivalence import compare as compare_worlds
from harness.report.card import write_card
from harness.report.compare import write_comparison
from harness.report.equivalence import write_equivalence
from harness.report.load import write_load
from harness.report.nightly import write_night
from harness.report.record import RunRecord
from harness.report.render import load_record, render
from harness.report.trend import write_trend
from tests.unit import sample_load, sample_record, sample_rollouts, test_nightly
from tests.unit.compared_runs import requests, written
from tests.unit.test_trend import nights


def _run(make: Callable[[], RunRecord]) -> Callable[[Path], Path]:
    return lambda folder: render(make(), folder)


def _equivalence(folder: Path) -> Path:
    passed = Outcome(Verdict.PASSED, duration_s=1.2)
    lacks = Outcome(Verdict.SKIPPED, "metrics: apt-get install prometheus")
    failed = Outcome(Verdict.FAILED, "assert 3 == 4")
    here = {"scenarios/test_a.py::test_alike": passed, "test_b.py::test_lacks": passed, "test_c.py::test_b": passed}
    there = {"scenarios/test_a.py::test_alike": passed, "test_b.py::test_lacks": lacks, "test_c.py::test_b": failed}
    runs = [WorldRun("embedded", here), WorldRun("kind", there), WorldRun("kubernetes", {}, "no cluster was named")]
    return write_equivalence(compare_worlds(runs, {"metrics"}), folder)


def _load(folder: Path) -> Path:
    return write_load(sample_load.run(), folder) or folder


def _comparison(folder: Path) -> Path:
    home = folder / "runs"
    before, after = (
        written(home, name, requests(seed, slower=slower, failing=failing))
        for name, seed, slower, failing in (("before", 1, 1.0, 0.001), ("after", 2, 1.3, 0.02))
    )
    one, other = ((load_record(each), samples(load_record(each), each)) for each in (before, after))
    return write_comparison(compare(one[1], other[1]), one, other, folder)


def _trend(folder: Path) -> Path:
    return write_trend(trend(nights(10.0, 11.0, 9.5, 10.4, 10.9, 9.8, 10.2, 40.0), last=30), folder)


PAGES: dict[str, Callable[[Path], Path]] = {
    "run-passed": _run(sample_record.passed),
    "run-rolled-back": _run(sample_record.rolled_back),
    "run-rollouts": _run(sample_rollouts.all_kinds),
    "run-chaos": _run(sample_rollouts.chaos),
    "equivalence": _equivalence,
    "compare": _comparison,
    "load": _load,
    "nightly": lambda folder: write_night(test_nightly.sample(), folder),
    "trend": _trend,
    "card": lambda folder: write_card(sample_record.passed(), folder)[0],
}
