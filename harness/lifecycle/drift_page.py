"""Evidently's page of a window: it draws what was compared, by the same tests and thresholds, and decides nothing.

    python -P -m harness.lifecycle.drift_page

draws a page for each line of its standard input, a JSON object {"reference", "window": Parquet files, "name",
"thresholds": {column: p-value}, "html": file to write}, answers with a line, and ends with the input. A page takes a
second or two and 4 MB: too much for the process that judges.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from harness.lifecycle._comparison import KS, LEVELS, Comparison, DriftPolicy, ks_of, levels_p_value
from harness.lifecycle.drift import LABEL, METHODS

if TYPE_CHECKING:
    import pandas as pd

_REGISTERED = {KS: "rehearsal-ks", LEVELS: "rehearsal-levels"}


def write_page(pair: Comparison, thresholds: Mapping[str, float], html: Path) -> None:
    """Write Evidently's page of two frames; beside the target and renamed."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    _register()
    numeric = [column for column, method in pair.methods.items() if method == KS]
    labels = [column for column, method in pair.methods.items() if method == LEVELS]
    definition = DataDefinition(numerical_columns=numeric, categorical_columns=labels)
    preset = DataDriftPreset(
        columns=list(pair.methods),
        drift_share=1.0 / len(pair.methods),
        per_column_method={column: _REGISTERED[method] for column, method in pair.methods.items()},
        per_column_threshold={column: thresholds[column] for column in pair.methods},
    )
    snapshot = Report([preset], include_tests=True).run(
        Dataset.from_pandas(pair.window, data_definition=definition),
        Dataset.from_pandas(pair.reference, data_definition=definition),
    )
    beside = html.with_name(f".{html.name}.tmp")
    snapshot.save_html(str(beside))
    beside.replace(html)


def _register() -> None:
    from evidently.legacy.calculations.stattests import StatTest, register_stattest
    from evidently.legacy.core import ColumnType

    def by_level(old: pd.Series, new: pd.Series, _: ColumnType, limit: float) -> tuple[float, bool]:
        p_value = levels_p_value(old, new)
        return p_value, p_value <= limit

    def by_rank(old: pd.Series, new: pd.Series, _: ColumnType, limit: float) -> tuple[float, bool]:
        p_value = ks_of(old.to_numpy(), new.to_numpy())
        return p_value, p_value <= limit

    for method, judge, kind in (
        (KS, by_rank, ColumnType.Numerical),
        (LEVELS, by_level, ColumnType.Categorical),
    ):
        test = StatTest(name=_REGISTERED[method], display_name=METHODS[method], allowed_feature_types=[kind])
        register_stattest(test, judge)


def main() -> None:
    """Draw until the input ends."""
    import pandas as pd

    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.nice(10)
    for line in sys.stdin:
        spec = json.loads(line)
        try:
            reference = pd.read_parquet(spec["reference"]).drop(columns=LABEL, errors="ignore")
            pair = Comparison.unchecked(reference, pd.read_parquet(spec["window"]), spec["name"], DriftPolicy())
            write_page(pair, spec["thresholds"], Path(spec["html"]))
        except Exception as error:  # a page that cannot be drawn must not end the others
            print(f"{spec['name']}: no page: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        Path(spec["window"]).unlink(missing_ok=True)


if __name__ == "__main__":
    main()
