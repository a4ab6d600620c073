"""Two runs side by side, and many in a row: which differences are real, with stated error rates."""

from harness.compare.compare import BUDGET, ERROR_RATE, Comparison, Outcome, Row, Verdict, compare
from harness.compare.sample import Key, Sample, samples

__all__ = ["BUDGET", "ERROR_RATE", "Comparison", "Key", "Outcome", "Row", "Sample", "Verdict", "compare", "samples"]
