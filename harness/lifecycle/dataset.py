"""A data set: where its rows come from, what is predicted, and the checks that a user's file must pass.

The built-in one is the RAND Health Insurance Experiment (statsmodels.datasets.randhie, public domain): 20,190
person-years. `RAND_COLUMNS` maps its terse column names to the readable ones used here. Rows carry no person id, so a
random split may put two years of one person on both sides; scores are comparable between models, but optimistic as
estimates.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

Task = Literal["classification", "regression"]
Kind = Literal["number", "text"]

RAND = "rand-hie"
RAND_COLUMNS = {
    "mdvis": "visits",
    "lncoins": "log_coinsurance",
    "idp": "individual_deductible",
    "lpi": "log_incentive",
    "fmde": "log_deductible_cap",
    "physlm": "physical_limit",
    "disea": "chronic_diseases",
    "hlthg": "health_good",
    "hlthf": "health_fair",
    "hlthp": "health_poor",
}
HELD_OUT = 0.25
"""The share of the rows that no version is fitted on."""

MAX_BROKEN = 0.2
"""More broken rows than this share mean that the data, not a few rows, is wrong."""

MIN_ROWS = 50
MIN_CLASS_ROWS = 10
_SUFFIXES = (".csv", ".parquet")


@dataclass(frozen=True)
class Dataset:
    """Rows and what to predict from them.

    source: "rand-hie", or the path of a CSV (UTF-8, comma, header) or Parquet file.
    threshold: turns a numeric target into a class, positive from this value on.
    positive: the label of the positive class; without it the last of the two in sorted order.
    slices: columns whose groups are judged apart; ignore: columns that are not features.
    columns: declared kinds ("number" or "text"); a declared column must be there and be of that kind.
    ranges: column -> lowest and highest allowed value, both included; a row outside is quarantined.
    licence: under which the rows may be used, for the model card.
    """

    name: str
    source: str
    target: str
    task: Task = "classification"
    threshold: float | None = None
    positive: str | None = None
    slices: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    columns: Mapping[str, Kind] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    licence: str = ""

    def __post_init__(self) -> None:
        if self.task not in ("classification", "regression"):
            raise DataError(f"task: expected classification or regression, got {self.task!r}")
        if wrong := {kind for kind in self.columns.values() if kind not in ("number", "text")}:
            raise DataError(f"columns: expected number or text, got {', '.join(sorted(wrong))}")

    def described(self) -> dict[str, Any]:
        """What a reader of a model wants to know of its data, without the columns' kinds and ranges."""
        keys = ("name", "source", "licence", "target", "task", "threshold", "positive")
        return {key: getattr(self, key) for key in keys}

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Dataset:
        return cls.from_dict(json.loads(text))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Dataset:
        known = {each.name for each in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise DataError(f"dataset: unknown key {', '.join(unknown)}; allowed: {', '.join(sorted(known))}")
        lists = {key: tuple(values[key]) for key in ("slices", "ignore") if key in values}
        ranges = {column: (float(low), float(high)) for column, (low, high) in dict(values.get("ranges", {})).items()}
        return cls(**{**values, **lists, "ranges": ranges, "columns": dict(values.get("columns", {}))})


def high_utiliser(threshold: float = 5.0) -> Dataset:
    """RAND: does a person visit a doctor at least `threshold` times in the year? 5 makes 20 % positive."""
    numbers = [name for name in RAND_COLUMNS.values() if name != "visits"]
    shares = ("individual_deductible", "physical_limit", "health_good", "health_fair", "health_poor")
    return Dataset(
        name="high-utiliser",
        source=RAND,
        target="high_utiliser",
        threshold=threshold,
        slices=("poor_health",),
        ignore=("poor_health",),
        columns=dict.fromkeys(numbers, "number"),
        ranges={**dict.fromkeys(shares, (0.0, 1.0)), "chronic_diseases": (0.0, 100.0)},
        licence="public domain (RAND Health Insurance Experiment, by statsmodels)",
    )


def load(dataset: Dataset) -> pd.DataFrame:
    """All rows, the target encoded: 0/1 for classification, as it stands for regression, missing where it was missing.

    Raises DataError, one line, for what a user can get wrong in the file, its columns or its target.
    """
    frame = _rand() if dataset.source == RAND else _file(Path(dataset.source))
    _check_columns(frame, dataset)
    frame = frame.drop(columns=[name for name in dataset.ignore if name not in dataset.slices])
    frame[dataset.target] = _encoded(frame[dataset.target], dataset)
    check_target(frame[dataset.target], dataset)
    _check_features(frame, dataset)
    return frame


def feature_columns(columns: list[str], dataset: Dataset) -> list[str]:
    """The model's inputs, in file order."""
    return [name for name in columns if name != dataset.target and name not in dataset.ignore]


def check_target(target: pd.Series, dataset: Dataset) -> None:
    """Raises DataError if nothing can be learned from the target: too few rows, one class, one value."""
    known = target.dropna()
    where = f"{dataset.source}: target {dataset.target!r}"
    if len(known) < MIN_ROWS:
        raise DataError(f"{where} has {len(known)} usable rows; at least {MIN_ROWS} are needed")
    counts = known.value_counts()
    if dataset.task == "regression":
        if len(counts) == 1:
            raise DataError(f"{where} is constant: every row is {known.iloc[0]}", hint="choose another --target.")
    elif len(counts) < 2:
        raise DataError(f"{where} has one class only: every row is class {int(known.iloc[0])}", hint=_CLASS_HINT)
    elif counts.min() < MIN_CLASS_ROWS:
        raise DataError(f"{where}: the smaller class has {counts.min()} rows; at least {MIN_CLASS_ROWS} are needed")


def source_digest(dataset: Dataset) -> str:
    """What a cached ingest depends on: the file's bytes, or the version of the package that carries the data."""
    if dataset.source == RAND:
        from importlib.metadata import version

        return f"statsmodels {version('statsmodels')}"
    try:
        with Path(dataset.source).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"data file {dataset.source}: {error.strerror}") from error


def fingerprint(frame: pd.DataFrame) -> str:
    """sha256 of names and values, column by column; does not depend on the file format, its path or its row index."""
    import numpy as np
    import pandas as pd

    digest = hashlib.sha256(f"{len(frame)} rows".encode())
    for name in frame.columns:
        column = frame[name]
        if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
            content = np.ascontiguousarray(column.to_numpy(dtype="<f8", na_value=np.nan)).tobytes()
        else:
            content = json.dumps([None if pd.isna(value) else str(value) for value in column]).encode()
        digest.update(f"\n{name}:{len(content)}:".encode())
        digest.update(content)
    return digest.hexdigest()


_CLASS_HINT = "choose another --target, or a threshold that splits it."


def _rand() -> pd.DataFrame:
    from statsmodels.datasets import randhie

    frame: pd.DataFrame = randhie.load_pandas().data.rename(columns=RAND_COLUMNS)
    frame["poor_health"] = ((frame["health_fair"] + frame["health_poor"]) > 0).astype("int64")
    return frame.rename(columns={"visits": "high_utiliser"})


def _file(path: Path) -> pd.DataFrame:
    import pandas as pd

    if path.suffix.lower() not in _SUFFIXES:
        raise DataError(f"data file {path}: unsupported suffix {path.suffix!r}; allowed: {', '.join(_SUFFIXES)}")
    if not path.is_file():
        raise DataError(f"data file {path}: no such file", hint=f"relative paths start at {Path.cwd()}.")
    try:
        if path.suffix.lower() == ".csv":
            # pandas' default reader is off by one unit in the last place, so a value would not equal Parquet's.
            frame = pd.read_csv(path, encoding="utf-8", float_precision="round_trip")
        else:
            frame = pd.read_parquet(path)
    except pd.errors.EmptyDataError:
        raise DataError(f"data file {path}: the file is empty") from None
    except UnicodeDecodeError:
        raise DataError(
            f"data file {path}: not UTF-8 ({_first_bad_byte(path.read_bytes())})",
            hint="convert it, for example with iconv -f latin1 -t utf-8.",
        ) from None
    except OSError as error:
        raise DataError(f"data file {path}: {error.strerror or error}") from None
    except ValueError as error:
        raise DataError(f"data file {path}: not a {path.suffix[1:]} file: {str(error).splitlines()[0]}") from None
    if frame.empty:
        raise DataError(f"data file {path}: the file has no rows")
    frame.columns = [str(name) for name in frame.columns]
    # Rows are told apart by their index from here on, and Parquet keeps one that may have doubles.
    return frame.reset_index(drop=True)


def _first_bad_byte(content: bytes) -> str:
    """Where the file stops being UTF-8; pandas counts from the start of a field."""
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        return f"byte 0x{content[error.start]:02x} in line {line}"
    return "as pandas reads it"


def _check_columns(frame: pd.DataFrame, dataset: Dataset) -> None:
    there = list(frame.columns)
    listed = ", ".join(there[:30])
    if dataset.target not in there:
        raise DataError(f"{dataset.source}: target {dataset.target!r} is not a column; columns: {listed}")
    for what, names in (("slices", dataset.slices), ("ignore", dataset.ignore), ("ranges", tuple(dataset.ranges))):
        if missing := [name for name in names if name not in there]:
            raise DataError(f"{dataset.source}: {what} names {', '.join(missing)}, not a column; columns: {listed}")
    if missing := [name for name in dataset.columns if name not in there]:
        raise DataError(f"{dataset.source}: broken schema: declared column {', '.join(missing)} is missing")
    if not feature_columns(there, dataset):
        raise DataError(f"{dataset.source}: no column is left to predict {dataset.target!r} from")


def _check_features(frame: pd.DataFrame, dataset: Dataset) -> None:
    for name in feature_columns(list(frame.columns), dataset):
        if frame[name].isna().all():
            raise DataError(f"{dataset.source}: column {name!r} has no value in any row", hint=_ignore(name))
        if frame[name].nunique(dropna=False) == 1:
            value = frame[name].iloc[0]
            raise DataError(f"{dataset.source}: column {name!r} is constant: every row is {value}", hint=_ignore(name))


def _ignore(name: str) -> str:
    return f"drop it, or add {name!r} to ignore."


def _encoded(target: pd.Series, dataset: Dataset) -> pd.Series:
    import pandas as pd

    if dataset.task == "regression":
        _check_numbers(target, dataset, "the task is regression")
        return target
    if dataset.threshold is not None:
        numbers = pd.to_numeric(target, errors="coerce")
        _check_numbers(target, dataset, "it has a threshold")
        return (numbers >= dataset.threshold).astype("float64").where(numbers.notna())
    labels = sorted(target.dropna().unique(), key=str)
    where = f"{dataset.source}: target {dataset.target!r}"
    if len(labels) > 2:
        shown = ", ".join(str(label) for label in labels[:5])
        raise DataError(
            f"{where} has {len(labels)} classes ({shown}{', ...' if len(labels) > 5 else ''}); two are supported",
            hint="set a threshold for a numeric target, or --task regression.",
        )
    positive = labels[-1:] if dataset.positive is None else [x for x in labels if str(x) == dataset.positive]
    if labels and not positive:
        shown = ", ".join(str(label) for label in labels)
        raise DataError(f"{where}: positive class {dataset.positive!r} is not among its labels: {shown}")
    if len(labels) == 1:
        raise DataError(f"{where} has one class only: every row is {labels[0]}", hint=_CLASS_HINT)
    return target.isin(positive).astype("float64").where(target.notna())


def _check_numbers(target: pd.Series, dataset: Dataset, why: str) -> None:
    """Raises DataError for a target of text; a few broken values are left to validation."""
    import pandas as pd

    known = target.dropna()
    broken = known[pd.to_numeric(known, errors="coerce").isna()]
    if len(broken) > MAX_BROKEN * len(known):
        raise DataError(
            f"{dataset.source}: target {dataset.target!r} is text ({broken.iloc[0]!s:.40}), but {why}",
            hint="choose a column of numbers, or --task classification without a threshold.",
        )
