"""A run's seed decides which rows are held out and which of them are sent."""

from __future__ import annotations

import pandas as pd

from harness import Platform
from harness.lifecycle.dataset import Dataset


def test_two_seeds_hold_out_different_rows_and_one_seed_the_same(platform: Platform, high_utiliser: Dataset) -> None:
    """`[run] seed` is what makes a run come out again as it did."""
    heldout = []
    for seed in (1, 2, 1):
        platform.seed = seed
        model = platform.train(high_utiliser, max_depth=2)
        heldout.append(pd.read_parquet(model.result.heldout))
    assert heldout[0].equals(heldout[2])
    assert not heldout[0].equals(heldout[1])
