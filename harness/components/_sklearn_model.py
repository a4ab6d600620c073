"""A model version, loaded and ready to answer: storageUri -> estimator, its columns, and one `answer` function.

Heavy on purpose (mlflow, sklearn): imported by model servers and their nursery, never by the platform's own process.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import math
import re
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import mlflow.sklearn
import numpy as np
import pandas as pd
import sklearn
from mlflow.exceptions import MlflowException
from mlflow.models import Model

from harness.components._columns import BadRequest, Columns
from harness.lifecycle.signature import FLOATS, Column

Input = np.ndarray | pd.DataFrame
_VERSION = re.compile(r"models:/[^/@]+/[0-9]+")


class CannotLoad(Exception):
    """The model behind a storageUri cannot be served; one line. `retry` if another try may help."""

    def __init__(self, message: str, *, retry: bool = False) -> None:
        super().__init__(message)
        self.retry = retry


@dataclass(frozen=True)
class ServedModel:
    """A loaded model. `answer` takes what `columns` made of a request: the positive class's probability, or predict."""

    columns: Columns
    estimator: Any
    on_arrays: bool
    gaps_on_arrays: bool

    def answer(self, data: Input) -> np.ndarray:
        """[n] float64 answers; BadRequest if the estimator refuses the values."""
        if isinstance(data, np.ndarray) and self._takes(data):
            return _score(self.estimator)(data)
        frame = self.columns.frame(data) if isinstance(data, np.ndarray) else data
        try:
            # assume_finite saves a pass over the data; where a value is missing, the estimator must say so itself.
            with sklearn.config_context(assume_finite=False):
                return _score(self.estimator)(frame)
        except ValueError as error:
            raise BadRequest(f"the model refuses these values: {str(error).splitlines()[0]}") from error

    def _takes(self, data: np.ndarray) -> bool:
        if not self.on_arrays or _infinite(data):
            return False
        return self.gaps_on_arrays or not bool(pd.isna(data).any())


def load(storage_uri: str, models: Path) -> ServedModel:
    """Fetch the model version through MLflow into a folder of `models`, and load it."""
    try:
        folder = _fetch(storage_uri, models)
        meta = Model.load(str(folder))
        estimator = _estimator(folder, meta)
        columns = _columns(meta, estimator)
    except CannotLoad:
        raise
    except Exception as error:  # unpickling runs anybody's code: whatever it raises, this model cannot be served
        reason = str(error).strip().splitlines() or [""]
        raise CannotLoad(f"model {storage_uri} cannot be loaded: {type(error).__name__}: {reason[0]}") from error
    on_arrays = _works_on_arrays(folder, meta, columns, estimator)
    return ServedModel(columns, estimator, on_arrays, on_arrays and _gaps_work(folder, meta, columns, estimator))


def tune_for_single_rows() -> None:
    """Settings of this process that take the fixed cost out of a one-row prediction."""
    sklearn.set_config(assume_finite=True, skip_parameter_validation=True)
    warnings.filterwarnings("ignore", message="X does not have valid feature names", category=UserWarning)


def _fetch(storage_uri: str, models: Path) -> Path:
    """The model's folder. A fetched version is kept: who starts again needs no registry, which may be away by then."""
    if not storage_uri.startswith("models:/"):
        folder = Path(storage_uri.removeprefix("file://"))
        if not (folder / "MLmodel").is_file():
            raise CannotLoad(f"model {storage_uri} cannot be loaded: there is no MLmodel file in that folder")
        return folder
    kept = models / hashlib.sha256(storage_uri.encode()).hexdigest()[:16]
    if not _VERSION.fullmatch(storage_uri):
        return _downloaded(storage_uri, models)  # an alias may lead to another version by now
    if not kept.is_dir():
        fetched = _downloaded(storage_uri, models)
        with contextlib.suppress(OSError):  # another replica was first
            fetched.rename(kept)
    return kept


def _downloaded(storage_uri: str, models: Path) -> Path:
    try:
        models.mkdir(parents=True, exist_ok=True)
        into = tempfile.mkdtemp(dir=models)
        return Path(mlflow.artifacts.download_artifacts(artifact_uri=storage_uri, dst_path=into))
    except MlflowException as error:
        away = error.error_code in ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED")
        reason = error.message.splitlines()[0]
        raise CannotLoad(f"model {storage_uri} cannot be loaded: {reason}", retry=away or _full(error)) from error
    except OSError as error:
        raise CannotLoad(f"model {storage_uri} cannot be loaded: {error.strerror}", retry=_full(error)) from error


def _full(error: BaseException | None) -> bool:
    """Whether a disk is full, which may pass."""
    while error is not None:
        if getattr(error, "errno", None) == errno.ENOSPC or "No space left on device" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _estimator(folder: Path, meta: Model) -> Any:
    if "sklearn" in meta.flavors:
        return mlflow.sklearn.load_model(str(folder))
    return mlflow.pyfunc.load_model(str(folder))


def _columns(meta: Model, estimator: Any) -> Columns:
    inputs = meta.signature.inputs if meta.signature is not None else None
    if inputs is not None and inputs.has_input_names():
        return Columns(tuple(Column(str(spec.name), _kind(spec)) for spec in inputs.inputs))
    names = getattr(estimator, "feature_names_in_", None)
    if names is None:
        count = getattr(estimator, "n_features_in_", None)
        if count is None:
            raise CannotLoad("the model has neither a signature nor feature names: log it with a signature")
        names = [f"input-{index}" for index in range(count)]
    return Columns(tuple(Column(str(name), "double") for name in names))


def _kind(spec: Any) -> str:
    name = getattr(spec.type, "name", "")
    return str(name) if name else "object"


def _score(estimator: Any) -> Callable[[Input], np.ndarray]:
    classes = getattr(estimator, "classes_", None)
    if hasattr(estimator, "predict_proba") and classes is not None and len(classes) == 2:
        return lambda data: np.asarray(estimator.predict_proba(data)[:, 1], dtype=np.float64)
    return lambda data: np.asarray(estimator.predict(data), dtype=np.float64).reshape(-1)


def _infinite(data: np.ndarray) -> bool:
    """Whether a number is infinite."""
    if data.dtype == object:
        return any(isinstance(value, float) and math.isinf(value) for value in data.flat)
    return bool(np.isinf(data).any())


def _gaps_work(folder: Path, meta: Model, columns: Columns, estimator: Any) -> bool:
    """Whether rows with a missing value are answered as arrays as they are as a DataFrame, tried column by column."""
    may_miss = [at for at, column in enumerate(columns.columns) if column.kind in FLOATS | {"string"}]
    try:
        row = _complete_rows(folder, meta, columns).to_numpy(dtype=object)[0]
        table = columns.objects([row] * len(may_miss))
        table[range(len(may_miss)), may_miss] = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answers = _score(estimator)(table)
            with sklearn.config_context(assume_finite=False):
                framed = _score(estimator)(columns.frame(table))
        return bool(np.array_equal(answers, framed)) and bool(np.isfinite(answers).all())
    except Exception:  # an estimator may refuse a missing value with any error: a DataFrame then says which
        return False


def _matrix(frame: pd.DataFrame, columns: Columns) -> np.ndarray:
    """The rows as a request would bring them."""
    return frame.to_numpy(dtype=np.float64) if columns.numeric else columns.objects(frame.to_numpy(dtype=object))


def _complete_rows(folder: Path, meta: Model, columns: Columns) -> pd.DataFrame:
    """Of the model's own input example; what becomes of gaps is tried with gaps of our own (`_gaps_work`)."""
    rows: pd.DataFrame = meta.load_input_example(str(folder))[columns.names]
    return rows.dropna()


def _works_on_arrays(folder: Path, meta: Model, columns: Columns, estimator: Any) -> bool:
    """Whether plain arrays give the very answers that a DataFrame gives, tried on the model's own input example."""
    if not columns.plain:
        return False
    try:
        matrix = _matrix(_complete_rows(folder, meta, columns), columns)
        if not len(matrix) or _infinite(matrix):
            return False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return bool(np.array_equal(_score(estimator)(matrix), _score(estimator)(columns.frame(matrix))))
    except Exception:  # an estimator may refuse arrays with any error: it is then served with DataFrames
        return False
