"""Samples of held-out rows: as requests for a load, and as windows of traffic for the drift check.

Runs as a job in a warm process, because it reads Parquet.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import DataError
from harness.lifecycle.drift import PREDICTION
from harness.runtime.job import answer

if TYPE_CHECKING:
    import pandas as pd

OFFLINE = "offline_prediction"
AUTOMATIC = "automatic"


def main(spec_json: str, result_path: str) -> None:
    """Job: draw samples of held-out rows.

    Spec: {"heldout": parquet, "features": [...], "seed": int, "samples": [{"name", "rows", "where"?: pandas query}],
    "requests"?: {"sample", "path"}, "reference"?: parquet to write: what no sample without `where` drew}.
    Answer: {"samples": {name: {"rows": [[...]], "offline": [...], "where": str | None}}}; a sample is at most as long
    as what it draws from. The condition "automatic" stands for the upper quarter of the feature with the most distinct
    values, or for the most frequent value of the first feature where none is a number.
    """
    answer(result_path, lambda: _draw_all(json.loads(spec_json)))


def _draw_all(spec: dict[str, Any]) -> dict[str, Any]:
    import pandas as pd

    frame = pd.read_parquet(spec["heldout"])
    for sample in spec["samples"]:
        if sample.get("where") == AUTOMATIC:
            sample["where"] = shifted_condition(frame[spec["features"]])
    drawn = {sample["name"]: _draw(frame, sample, spec["seed"]) for sample in spec["samples"]}
    if target := spec.get("reference"):
        taken = [index for s in spec["samples"] if not s.get("where") for index in drawn[s["name"]].index]
        _renamed(frame.drop(index=taken), spec["features"]).to_parquet(target)
    if requests := spec.get("requests"):
        _write_requests(drawn[requests["sample"]], spec["features"], Path(requests["path"]))
    conditions = {sample["name"]: sample.get("where") for sample in spec["samples"]}
    return {
        "samples": {
            name: {**_as_json(rows, spec["features"]), "where": conditions[name]} for name, rows in drawn.items()
        }
    }


def shifted_condition(features: pd.DataFrame) -> str:
    """A pandas query for rows that are surely not a random sample of these; what "automatic" stands for."""
    numbers = features.select_dtypes("number")
    if numbers.columns.empty:
        first = features.columns[0]
        return f"`{first}` == {features[first].mode()[0]!r}"
    widest = numbers.nunique().idxmax()
    return f"`{widest}` >= {numbers[widest].quantile(0.75)!r}"


def _draw(frame: pd.DataFrame, sample: dict[str, Any], seed: int) -> pd.DataFrame:
    try:
        source = frame.query(sample["where"]) if sample.get("where") else frame
    except Exception as error:
        raise DataError(f"the condition {sample['where']!r} cannot be evaluated: {error}") from error
    if source.empty:
        raise DataError(f"the condition {sample['where']!r} matches none of the {len(frame)} held-out rows")
    return source.sample(min(sample["rows"], len(source)), random_state=seed)


def _renamed(frame: pd.DataFrame, features: list[str]) -> pd.DataFrame:
    return frame[[*features, OFFLINE]].rename(columns={OFFLINE: PREDICTION})


def _as_json(rows: pd.DataFrame, features: list[str]) -> dict[str, Any]:
    return {"rows": _table(rows, features), "offline": rows[OFFLINE].tolist()}


def _write_requests(rows: pd.DataFrame, features: list[str], path: Path) -> None:
    lines = (json.dumps({"instances": [row]}) + "\n" for row in _table(rows, features))
    path.write_text("".join(lines), encoding="utf-8")


def _table(rows: pd.DataFrame, features: list[str]) -> list[list[Any]]:
    """The rows as Python values, exactly; a missing value is None."""
    values = rows[features].astype(object)
    table: list[list[Any]] = values.where(values.notna(), None).to_numpy().tolist()
    return table
