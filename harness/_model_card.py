"""The model card of a version, made and kept where the version is: an artifact of its run in MLflow."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import PlatformError
from harness.lifecycle.card import CardWords
from harness.report.card import write_card
from harness.report.record import CardRecord

if TYPE_CHECKING:
    from harness.clients.mlflow import MLflowClient, Run
    from harness.model_version import ModelVersion
    from harness.report.record import RunRecord

FOLDER, NAME, TAG = "card", "model-card", "model_card"
_PROXIED = "mlflow-artifacts:"


def make_card(
    record: RunRecord, registry: MLflowClient, model: ModelVersion, words: CardWords, folder: Path
) -> CardRecord:
    """Write a version's card into the run folder and into MLflow, and link it from the version.

    The card is rendered from the record, so what is shown of the version is what the record has of it by now.
    """
    run = registry.run(model.result.model.run_id)
    uri = f"runs:/{run.run_id}/{FOLDER}/{NAME}.html"
    told = {**asdict(words), "limitations": list(words.limitations)}
    card = CardRecord(**told, model=model.name, version=model.version, uri=uri)
    others = [each for each in record.cards if (each.model, each.version) != (card.model, card.version)]
    record.cards = [*others, card]
    files = write_card(record, folder, name=model.name, version=model.version)
    for file in files:
        registry.put_artifact(f"{_place(run)}/{FOLDER}/{NAME}{file.suffix}", file.read_bytes())
    page = f"#/experiments/{run.experiment_id}/runs/{run.run_id}/artifacts/{FOLDER}/{NAME}.html"
    registry.set_version_tag(model.name, model.version, TAG, uri)
    registry.describe_version(model.name, model.version, f"{words.intended_use}\n\n[Model card]({page})".strip())
    return card


def _place(run: Run) -> str:
    """Where the run's artifacts are in the server's store."""
    if not run.artifact_uri.startswith(_PROXIED):
        raise PlatformError(
            f"MLflow run {run.run_id}: its artifacts are at {run.artifact_uri}, which is not the server's own store",
            hint="Start MLflow with --serve-artifacts and a default artifact root of mlflow-artifacts:/",
        )
    return run.artifact_uri.removeprefix(_PROXIED).strip("/")
