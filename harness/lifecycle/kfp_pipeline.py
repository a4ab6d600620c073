"""The training pipeline as KFP v2 components; the same compiled file runs under kfp.local and on a KFP back end.

No `from __future__ import annotations` here: KFP reads the annotations themselves. A component's source text is part
of its cache key, and `code` is a digest of the library that it calls, so that a changed library misses the cache.
Heavy: imports kfp.
"""

from pathlib import Path

from kfp import compiler, dsl

from harness import __version__

IMAGE = f"rehearsal/pipeline:{__version__}"
NAME = "rehearsal-training"
CACHED = ("ingest", "validate", "features")
"""Tasks that do not know of MLflow: their outputs are the same for every run with the same inputs."""

component = dsl.component(base_image=IMAGE, install_kfp_package=False)


@component
def ingest(dataset: str, source_digest: str, code: str, rows: dsl.Output[dsl.Dataset]) -> None:
    """Read the source into Parquet."""
    from harness.lifecycle import steps

    rows.metadata.update(steps.ingest(dataset, source_digest, rows.path))


@component
def validate(
    dataset: str,
    code: str,
    rows: dsl.Input[dsl.Dataset],
    valid: dsl.Output[dsl.Dataset],
    quarantined: dsl.Output[dsl.Dataset],
    report: dsl.Output[dsl.Artifact],
) -> None:
    """Quarantine broken rows; stop on a broken schema."""
    from harness.lifecycle import steps

    report.metadata["detail"] = steps.validate(dataset, rows.path, valid.path, quarantined.path, report.path)


@component
def features(
    dataset: str,
    seed: int,
    code: str,
    valid: dsl.Input[dsl.Dataset],
    report: dsl.Input[dsl.Artifact],
    train_rows: dsl.Output[dsl.Dataset],
    heldout: dsl.Output[dsl.Dataset],
    transformer: dsl.Output[dsl.Artifact],
) -> None:
    """Split off held-out rows and fit the feature transformer."""
    from harness.lifecycle import steps

    transformer.metadata["detail"] = steps.engineer(
        dataset, seed, valid.path, report.path, train_rows.path, heldout.path, transformer.path
    )


@component
def search(
    dataset: str,
    training: str,
    tracking: str,
    rows: dsl.Input[dsl.Dataset],
    train_rows: dsl.Input[dsl.Dataset],
    transformer: dsl.Input[dsl.Artifact],
    best: dsl.Output[dsl.Artifact],
) -> None:
    """Try hyper-parameters, each trial a nested MLflow run."""
    from harness.lifecycle import steps

    fingerprint = rows.metadata["fingerprint"]
    best.metadata["detail"] = steps.search(
        dataset, training, tracking, fingerprint, train_rows.path, transformer.path, best.path
    )


@component
def train(
    dataset: str,
    training: str,
    tracking: str,
    train_rows: dsl.Input[dsl.Dataset],
    transformer: dsl.Input[dsl.Artifact],
    best: dsl.Input[dsl.Artifact],
    model: dsl.Output[dsl.Model],
) -> None:
    """Fit the model with the best parameters."""
    from harness.lifecycle import steps

    model.metadata["detail"] = steps.train(
        dataset, training, tracking, train_rows.path, transformer.path, best.path, model.path
    )


@component
def evaluate(
    dataset: str,
    tracking: str,
    heldout: dsl.Input[dsl.Dataset],
    best: dsl.Input[dsl.Artifact],
    model: dsl.Input[dsl.Model],
    report: dsl.Output[dsl.Artifact],
    scored: dsl.Output[dsl.Dataset],
) -> None:
    """Judge the model on held-out rows."""
    from harness.lifecycle import steps

    report.metadata["detail"] = steps.evaluate(
        dataset, tracking, heldout.path, best.path, model.path, report.path, scored.path
    )


@component
def register(
    dataset: str,
    training: str,
    tracking: str,
    rows: dsl.Input[dsl.Dataset],
    heldout: dsl.Input[dsl.Dataset],
    best: dsl.Input[dsl.Artifact],
    model: dsl.Input[dsl.Model],
    evaluated: dsl.Input[dsl.Artifact],
    version: dsl.Output[dsl.Artifact],
) -> None:
    """Register the evaluated model as the next version, with the alias `candidate`."""
    from harness.lifecycle import steps

    fingerprint = rows.metadata["fingerprint"]
    version.metadata["detail"] = steps.register(
        dataset, training, tracking, fingerprint, best.path, model.path, heldout.path, version.path
    )


@dsl.pipeline(name=NAME, description="Train, judge and register one model version.")
def training_pipeline(
    dataset: str,
    source_digest: str,
    seed: int,
    training: str,
    tracking: str,
    ingest_code: str,
    validate_code: str,
    features_code: str,
) -> None:
    """`dataset`, `training` and `tracking` are JSON; see harness.lifecycle.pipeline.arguments."""
    read = ingest(dataset=dataset, source_digest=source_digest, code=ingest_code)
    rows = read.outputs["rows"]
    checked = validate(dataset=dataset, code=validate_code, rows=rows)
    split = features(
        dataset=dataset, seed=seed, code=features_code, valid=checked.outputs["valid"], report=checked.outputs["report"]
    )
    fitting = {"train_rows": split.outputs["train_rows"], "transformer": split.outputs["transformer"]}
    found = search(dataset=dataset, training=training, tracking=tracking, rows=rows, **fitting)
    best = found.outputs["best"]
    fitted = train(dataset=dataset, training=training, tracking=tracking, best=best, **fitting)
    model, heldout = fitted.outputs["model"], split.outputs["heldout"]
    judged = evaluate(dataset=dataset, tracking=tracking, heldout=heldout, best=best, model=model)
    registered = register(
        dataset=dataset,
        training=training,
        tracking=tracking,
        rows=rows,
        heldout=heldout,
        best=best,
        model=model,
        evaluated=judged.outputs["report"],
    )
    # These speak to one MLflow server: their outputs mean nothing to another run.
    for task in (found, fitted, judged, registered):
        task.set_caching_options(False)


def compile_to(path: Path) -> None:
    """Write the pipeline as KFP YAML; raises kfp's own errors, which are defects of this file."""
    compiler.Compiler().compile(training_pipeline, str(path))
