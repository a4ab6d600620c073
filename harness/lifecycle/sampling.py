"""Samples of held-out rows: as bodies of a load's requests, and as windows of traffic for the drift check.

Runs as a job in a warm process, because it reads Parquet.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from harness.errors import DataError
from harness.lifecycle.dataset import HELD_OUT
from harness.lifecycle.drift import PREDICTION, DriftPolicy
from harness.lifecycle.windows import automatic_condition, least_matching, require_matching, require_window_rows
from harness.runtime.job import answer

if TYPE_CHECKING:
    import pandas as pd

OFFLINE = "offline_prediction"
AUTOMATIC = "automatic"


def main(spec_json: str, result_path: str) -> None:
    """Job: draw samples of held-out rows.

    Spec: {"heldout": parquet, "features": [...], "seed": int, "samples": [{"name", "rows": int | None, "where"?: pandas
    query}], "reference"?: parquet to write: what no sample without `where` drew}.
    Answer: {"samples": {name: {"rows": [[...]], "offline": [...], "where": str | None}}}; a sample is at most as
    long as what it draws from. Without `rows` it is a window as large as a drift check needs, and CapabilityMissing
    where the held-out rows cannot give it. "automatic" stands for harness.lifecycle.windows.automatic_condition.
    """
    answer(result_path, lambda: _draw_all(json.loads(spec_json)))


def _draw_all(spec: dict[str, Any]) -> dict[str, Any]:
    import pandas as pd

    frame, features = pd.read_parquet(spec["heldout"]), spec["features"]
    samples = {sample["name"]: sample for sample in spec["samples"]}
    found = {name: _source(frame, features, sample) for name, sample in samples.items()}
    drawn = {
        name: rows.sample(
            min(samples[name]["rows"] or _window_rows(frame, features), len(rows)), random_state=spec["seed"]
        )
        for name, (_, rows) in found.items()
    }
    if target := spec.get("reference"):
        taken = [index for name, (where, _) in found.items() if where is None for index in drawn[name].index]
        _renamed(frame.drop(index=taken), features).to_parquet(target)
    return {"samples": {name: {**_as_json(rows, features), "where": found[name][0]} for name, rows in drawn.items()}}


def _source(frame: pd.DataFrame, features: list[str], sample: dict[str, Any]) -> tuple[str | None, pd.DataFrame]:
    """The condition in words, and the rows that a sample is drawn from."""
    where = sample.get("where")
    if not where:
        return None, frame
    if where == AUTOMATIC:
        _window_rows(frame, features)
        least = sample["rows"] or least_matching(len(frame), len(features) + 1, DriftPolicy()) or 1
        chosen = automatic_condition(frame[features], least)
        return chosen.words, frame[chosen.mask]
    rows = matching(frame, where)
    if sample["rows"] is None:
        _window_rows(frame, features)
        require_matching(where, len(rows), len(frame), len(features) + 1, DriftPolicy(), held_out_share=HELD_OUT)
    elif rows.empty:
        raise DataError(f"the condition {where!r} matches none of the {len(frame)} held-out rows")
    return where, rows


def rows_of(rows: pd.DataFrame, features: list[str]) -> list[list[Any]]:
    """The rows as Python values, exactly; a missing value is None."""
    values = rows[features].astype(object)
    table: list[list[Any]] = values.where(values.notna(), None).to_numpy().tolist()
    return table


def matching(frame: pd.DataFrame, where: str) -> pd.DataFrame:
    """The rows that a condition (a pandas query) matches; DataError if it is none."""
    try:
        return frame.query(where)
    except Exception as error:  # whatever a wrong expression raises
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"the condition {where!r} cannot be evaluated: {reason}", hint=f"columns: {', '.join(frame.columns[:30])}"
        ) from error


def _window_rows(frame: pd.DataFrame, features: list[str]) -> int:
    """The columns that are compared are the features and the prediction."""
    return require_window_rows(len(frame), len(features) + 1, DriftPolicy(), held_out_share=HELD_OUT)


def _renamed(frame: pd.DataFrame, features: list[str]) -> pd.DataFrame:
    return frame[[*features, OFFLINE]].rename(columns={OFFLINE: PREDICTION})


def _as_json(rows: pd.DataFrame, features: list[str]) -> dict[str, Any]:
    return {"rows": rows_of(rows, features), "offline": rows[OFFLINE].tolist()}
