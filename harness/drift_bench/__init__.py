"""How a drift check errs: false alarms without a shift, delays with one, over a catalogue of shifts, seeded."""

from harness.drift_bench.bench import Plan, run
from harness.drift_bench.results import BenchResult, ShiftResult
from harness.drift_bench.shifts import CATALOGUE

__all__ = ["CATALOGUE", "BenchResult", "Plan", "ShiftResult", "run"]
