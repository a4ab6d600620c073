"""What the pipeline's steps do: ordinary functions from files to files; each returns one line for the report.

Heavy imports are inside, because kfp.local starts one process for each step and a step pays only for what it uses.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import ConfigError, DataError, RehearsalError, TrainingFailed
from harness.lifecycle.dataset import Dataset, fingerprint
from harness.lifecycle.spec import ESTIMATORS

if TYPE_CHECKING:
    import pandas as pd

    from harness.lifecycle.evaluation import Array

ERRORS = "REHEARSAL_STEP_ERRORS"
"""Environment variable: the folder where a failing step leaves <step>.json for the process that runs the pipeline."""

EXAMPLE_ROWS = 3


@contextmanager
def reported(step: str) -> Iterator[None]:
    """Leaves the error's type, message and hint where the pipeline's parent finds them, and raises it."""
    try:
        yield
    except BaseException as error:
        if folder := os.environ.get(ERRORS):
            Path(folder, f"{step}.json").write_text(json.dumps(describe(error)), encoding="utf-8")
        raise


def describe(error: BaseException) -> dict[str, str]:
    """An error as JSON: {"type", "message", "hint"}."""
    if isinstance(error, RehearsalError):
        return {"type": type(error).__name__, "message": error.message, "hint": error.hint}
    return {"type": type(error).__name__, "message": str(error) or type(error).__name__, "hint": ""}


def ingest(dataset: str, digest: str, rows: str) -> dict[str, str]:
    """Reads the source into Parquet; gives the data's fingerprint. DataError if the source has another `digest`."""
    from harness.lifecycle.dataset import load, source_digest

    with reported("ingest"):
        wanted = Dataset.from_json(dataset)
        frame = load(wanted)
        # The digest is the cache's key: under it must be what it is the digest of.
        if source_digest(wanted) != digest:
            raise DataError(
                f"data file {wanted.source}: it was changed meanwhile", hint="run again once it is written."
            )
        _text_where_mixed(frame).to_parquet(rows)
        detail = f"{len(frame):,} rows, {frame.shape[1]} columns of {Path(wanted.source).name}"
        return {"detail": detail, "fingerprint": fingerprint(frame)}


def validate(dataset: str, rows: str, valid: str, quarantined: str, report: str) -> str:
    """Splits rows into usable and broken ones."""
    import pandas as pd

    from harness.lifecycle.validation import validate as split_rows

    with reported("validate"):
        usable, broken, found = split_rows(pd.read_parquet(rows), Dataset.from_json(dataset))
        usable.to_parquet(valid)
        broken.to_parquet(quarantined)
        Path(report).write_text(json.dumps(found.to_dict()), encoding="utf-8")
        return f"{found.rows - found.quarantined:,} rows usable, {found.quarantined} quarantined"


def engineer(dataset: str, seed: int, valid: str, report: str, train: str, heldout: str, transformer: str) -> str:
    """Splits off the held-out rows and fits the feature transformer on the others."""
    import pandas as pd

    from harness.lifecycle import model
    from harness.lifecycle.features import Features, split

    with reported("features"):
        wanted = Dataset.from_json(dataset)
        frame = pd.read_parquet(valid)
        rows, unseen = split(frame, wanted.target, stratify=wanted.task == "classification", seed=seed)
        fitted = Features(kinds=_read(report)["kinds"]).fit(rows)
        rows.to_parquet(train)
        unseen.to_parquet(heldout)
        model.dump(fitted, transformer)
        return f"{len(rows):,} rows to train, {len(unseen):,} held out; {len(fitted.names_)} features"


def search(
    dataset: str, training: str, tracking: str, data_fingerprint: str, train: str, transformer: str, best: str
) -> str:
    """Opens the MLflow run, tries hyper-parameters, and writes the best of them."""
    from harness.lifecycle import tracking as mlflow
    from harness.lifecycle.search import best as best_of
    from harness.lifecycle.training import default_params

    with reported("search"):
        wanted, todo, to = Dataset.from_json(dataset), json.loads(training), mlflow.Tracking.from_json(tracking)
        tags = {"data_fingerprint": data_fingerprint, "dataset": wanted.name, "estimator": todo["estimator"]}
        run_id = mlflow.start_run(to, tags)
        with mlflow.failing(to, run_id):
            trials = _trials(wanted, todo, train, transformer)
            ids = mlflow.log_trials(to, run_id, _metric(wanted), trials)
            chosen = best_of(trials).params if trials else {}
            params = {**default_params(todo["estimator"]), **todo["params"], **chosen}
            recorded = {**params, "estimator": todo["estimator"], "seed": todo["seed"], "trials": len(trials)}
            mlflow.log_params(to, run_id, {**recorded, "data_fingerprint": data_fingerprint})
        winner = best_of(trials).number if trials else None
        records = [
            {
                "number": each.number,
                "params": each.params,
                "value": abs(each.value),
                "run_id": trial_id,
                "best": each.number == winner,
            }
            for each, trial_id in zip(trials, ids, strict=True)
        ]
        _write(best, {"params": params, "trials": records, "run_id": run_id})
        if not trials:
            return "no search: fixed parameters"
        return f"{len(trials)} trials, best {_metric(wanted)} {abs(best_of(trials).value):.3f}"


def train(dataset: str, training: str, tracking: str, rows: str, transformer: str, best: str, model: str) -> str:
    """Fits the estimator on all training rows and joins it with its features."""
    import pandas as pd

    from harness.lifecycle import model as served
    from harness.lifecycle import tracking as mlflow
    from harness.lifecycle.training import fit

    with reported("train"):
        wanted, todo, found = Dataset.from_json(dataset), json.loads(training), _read(best)
        with mlflow.failing(mlflow.Tracking.from_json(tracking), found["run_id"]):
            frame = pd.read_parquet(rows)
            features, table = _features(todo, transformer, frame)
            started = time.monotonic()
            fitted = fit(
                todo["estimator"],
                wanted.task,
                found["params"],
                table,
                frame[wanted.target],
                seed=todo["seed"],
                deadline_s=todo["deadline_s"],
                source_root=todo["source_root"],
            )
            took = time.monotonic() - started
            whole = served.assemble(features, fitted if todo["estimator"] in ESTIMATORS else served.UserModel(fitted))
            served.dump(whole, model, todo["source_root"])
        return f"{todo['estimator']} on {len(frame):,} rows in {took:.2f} s"


def evaluate(dataset: str, tracking: str, heldout: str, best: str, model: str, report: str, scored: str) -> str:
    """Judges the model on held-out rows, logs metrics and plots, keeps the scored rows."""
    import pandas as pd

    from harness.lifecycle import evaluation, reference
    from harness.lifecycle import model as served
    from harness.lifecycle import tracking as mlflow

    with reported("evaluate"):
        wanted, to, run_id = Dataset.from_json(dataset), mlflow.Tracking.from_json(tracking), _read(best)["run_id"]
        with mlflow.failing(to, run_id):
            whole = served.load(model)
            unseen = _scored(whole, pd.read_parquet(heldout), wanted)
            unseen.to_parquet(scored, index=False)
            truth, said = unseen[wanted.target].to_numpy(float), unseen["offline_prediction"].to_numpy()
            found = evaluation.metrics(truth, said, wanted.task)
            slices = evaluation.slice_metrics(unseen, wanted.slices, truth, said, wanted.task)
            metric = _metric(wanted)
            found |= {f"{metric}_{label}": value for label, (value, _) in slices.items() if value == value}
            intervals = _intervals(unseen, wanted, truth, said)
            drawn = evaluation.plots(truth, said, wanted.task)
            mlflow.log_evaluation(to, run_id, found, drawn, time.time())
            features = [str(name) for name in whole["features"].feature_names_in_]
            if (kept := reference.frame_of(unseen, features, truth, said)) is not None:
                reference.store(mlflow.client(to.uri), run_id, kept)
        _write(report, {"metrics": found, "plots": drawn, "intervals": intervals, "rows": len(unseen)})
        return f"{metric} {found[metric]:.3f} on {len(unseen):,} held-out rows"


def register(
    dataset: str, training: str, tracking: str, data_fingerprint: str, best: str, model: str, heldout: str, version: str
) -> str:
    """Makes the model the next version of its name, with the alias `candidate`."""
    import pandas as pd

    from harness.lifecycle import model as served
    from harness.lifecycle import tracking as mlflow

    with reported("register"):
        to, run_id, todo = mlflow.Tracking.from_json(tracking), _read(best)["run_id"], json.loads(training)
        with mlflow.failing(to, run_id):
            whole = served.load(model)
            example = pd.read_parquet(heldout)[whole["features"].feature_names_in_].head(EXAMPLE_ROWS)
            tags = {
                "data_fingerprint": data_fingerprint,
                "code_version": to.code_version,
                "estimator": todo["estimator"],
                "task": Dataset.from_json(dataset).task,
            }
            number = mlflow.register(to, run_id, whole, example, tags, todo["source_root"])
        _write(version, {"version": number, "features": list(example.columns)})
        return f"{to.model_name} version {number}, alias {mlflow.CANDIDATE}"


def _trials(dataset: Dataset, todo: Mapping[str, Any], train_rows: str, transformer: str) -> Any:
    import pandas as pd

    from harness.lifecycle.evaluation import goodness, predict
    from harness.lifecycle.features import split
    from harness.lifecycle.search import VALIDATION_SHARE, check_space
    from harness.lifecycle.search import search as run_search
    from harness.lifecycle.training import default_space, fit

    space = default_space(todo["estimator"], dataset.task) if todo["space"] is None else todo["space"]
    check_space(space)
    space = {name: choices for name, choices in space.items() if name not in todo["params"]}
    if not todo["trials"]:
        return []
    if not space:
        raise ConfigError(f"trials is {todo['trials']}, but {todo['estimator']} has no search space", hint="set space.")
    stratify = dataset.task == "classification"
    fitting, judging = split(
        pd.read_parquet(train_rows), dataset.target, stratify=stratify, seed=todo["seed"], share=VALIDATION_SHARE
    )
    _, table = _features(todo, transformer, fitting)
    _, unseen = _features(todo, transformer, judging)
    end = time.monotonic() + todo["deadline_s"]

    def objective(params: dict[str, Any]) -> float:
        left = end - time.monotonic()
        if left <= 0:
            raise TrainingFailed(f"search of {todo['estimator']} did not finish within {todo['deadline_s']:g} s")
        model = fit(
            todo["estimator"],
            dataset.task,
            {**todo["params"], **params},
            table,
            fitting[dataset.target],
            seed=todo["seed"],
            deadline_s=left,
            source_root=todo["source_root"],
        )
        rows = unseen.to_numpy() if todo["estimator"] in ESTIMATORS else unseen
        return goodness(judging[dataset.target].to_numpy(float), predict(model, rows, dataset.task), dataset.task)

    return run_search(objective, space, trials=todo["trials"], seed=todo["seed"])


def _features(todo: Mapping[str, Any], transformer: str, frame: pd.DataFrame) -> tuple[Any, pd.DataFrame]:
    """The transformer that will travel with the model, and what it makes of `frame`, with names."""
    import pandas as pd

    from harness.lifecycle import model
    from harness.lifecycle.features import RawColumns

    fitted = model.load(transformer)
    if todo["features"] == "raw":
        fitted = RawColumns(kinds=fitted.kinds).fit(frame)
    else:
        fitted.as_frame = todo["estimator"] not in ESTIMATORS
    made = fitted.transform(frame)
    return fitted, made if isinstance(made, pd.DataFrame) else pd.DataFrame(made, columns=fitted.names_)


def _scored(model: Any, frame: pd.DataFrame, dataset: Dataset) -> pd.DataFrame:
    from harness.lifecycle.evaluation import predict

    rows = frame[model["features"].feature_names_in_]
    return frame.assign(offline_prediction=predict(model, rows, dataset.task))


def _intervals(scored: pd.DataFrame, dataset: Dataset, truth: Array, said: Array) -> dict[str, tuple[float, float]]:
    """The 95 % interval of each metric that has one, of all rows and of each slice."""
    from harness.lifecycle import evaluation, quality

    found = {each.name: (each.low, each.high) for each in quality.metrics(truth, said)}
    for label, rows in evaluation.groups(scored, dataset.slices):
        compared = [each for each in quality.metrics(truth[rows], said[rows]) if each.name == _metric(dataset)]
        found |= {f"{each.name}_{label}": (each.low, each.high) for each in compared}
    return found


def _text_where_mixed(frame: pd.DataFrame) -> pd.DataFrame:
    """Parquet holds one type in a column: a column of mixed values travels as text, and validation judges it."""
    made = frame.copy()
    for name in frame.select_dtypes("object"):
        made[name] = frame[name].astype(str).where(frame[name].notna(), None)
    return made


def _metric(dataset: Dataset) -> str:
    return "rmse" if dataset.task == "regression" else "auc"


def _read(path: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return content


def _write(path: str, content: Mapping[str, Any]) -> None:
    Path(path).write_text(json.dumps(content), encoding="utf-8")
