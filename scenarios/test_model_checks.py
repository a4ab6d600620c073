"""Checks of a model version: a good one passes all of them, a broken one fails the one that is for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness import GateRefused, Platform
from harness.backends.backend import Capability
from harness.clients.artifacts import ArtifactStore
from harness.lifecycle import dataset as data
from harness.lifecycle.card import CardWords
from harness.lifecycle.checks import (
    Case,
    Check,
    Consumers,
    Direction,
    Invariance,
    Latency,
    MinimumFunctionality,
    Robustness,
    Size,
    Skew,
    Slice,
)
from harness.lifecycle.dataset import Dataset
from harness.lifecycle.spec import GatePolicy
from harness.model_version import ModelVersion
from harness.report.record import ChecksRecord
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait
from harness.service import Service

CHECKS: tuple[Check, ...] = (
    Invariance("record_id"),
    Direction("chronic_diseases", by=10.0, at_least=0.99),
    MinimumFunctionality(
        (
            Case("healthy", {"chronic_diseases": 2.0, "health_good": 0.0}, at_most=0.25),
            Case("ill", {"chronic_diseases": 40.0, "health_poor": 1.0, "physical_limit": 1.0}, at_least=0.25),
        )
    ),
    Slice(where="health_fair == 1 or health_poor == 1", at_least=0.55),
    Slice(by="individual_deductible", at_least=0.55),
    Robustness(),
    Skew(rows=30),
    Latency(p99_ms=250, requests=700),
    Size(max_mb=4),
)

GATE = GatePolicy(max_latency_ms=250)
"""Speed has a check of its own here."""


@pytest.fixture
def people(tmp_path: Path) -> Dataset:
    """The RAND data as a file of somebody's: with an id, which no model should use."""
    frame = data.load(data.high_utiliser()).drop(columns="poor_health")
    frame.insert(0, "record_id", frame.sample(frac=1, random_state=3).index.to_numpy())
    file = tmp_path / "people.parquet"
    frame.to_parquet(file, index=False)
    return Dataset("people", str(file), "high_utiliser", positive="1.0")


def trained(platform: Platform, people: Dataset, how: str) -> ModelVersion:
    """A version by one of the training functions of scenarios.checked_models, which take the columns as they are."""
    return platform.run_pipeline(
        platform.training_spec(
            people, estimator=f"scenarios.checked_models:{how}", features="raw", source_root=str(Path.cwd())
        )
    )


def served(platform: Platform, people: Dataset, how: str) -> tuple[ModelVersion, Service]:
    model = trained(platform, people, how)
    return model, platform.deploy(model)


def verdicts(record: ChecksRecord) -> dict[str, bool | None]:
    return {each.name: each.passed for each in record.results}


def test_a_good_model_passes_every_check_and_with_them_the_gate(platform: Platform, people: Dataset) -> None:
    """All is judged, and the gate has a line for each check; its card is in MLflow."""
    model, service = served(platform, people, "careful")
    found = platform.check(model, CHECKS, service=service)
    gate = platform.judge(model, policy=GATE, checks=found)
    platform.promote(model, "champion", gate=gate)
    card = platform.card(model, CardWords(intended_use="To show a card."))

    assert set(verdicts(found).values()) == {True}
    assert len(found.results) == len(CHECKS) + 1, "robustness is looked at twice"
    assert [line.name for line in gate.lines][-len(found.results) :] == [
        f"check: {each.name}" for each in found.results
    ]
    version = platform.registry.version(model.name, model.version)
    assert version.tags["model_card"] == card.uri == f"runs:/{version.run_id}/card/model-card.html"
    place = platform.registry.run(version.run_id).artifact_uri.removeprefix("mlflow-artifacts:/")
    with ArtifactStore(platform.backend.tracking_uri) as store:
        page, text = (store.get(f"{place}/card/model-card.{suffix}") or b"" for suffix in ("html", "md"))
    assert b"To show a card." in page
    assert "| served as trained | 0 of " in text.decode()
    assert "Aliases: candidate, champion." in text.decode()


@pytest.mark.parametrize(
    ("how", "failing"),
    [
        ("uses_the_id", ["record_id does not matter"]),
        ("other_way_round", ["chronic_diseases +10 does not lower the answer"]),
        ("fails_on_gaps", ["robust to missing and extreme values", "robust to missing and extreme values, served"]),
        ("two_encoders", ["served as trained"]),
        ("oversized", ["size budget"]),
    ],
)
def test_a_broken_model_is_caught_by_the_check_that_is_for_it(
    platform: Platform, people: Dataset, how: str, failing: list[str]
) -> None:
    """Every other check passes, and the gate refuses the version with the reason."""
    model, service = served(platform, people, how)
    found = platform.check(model, CHECKS, service=service)
    gate = platform.judge(model, policy=GATE, checks=found)

    assert [name for name, passed in verdicts(found).items() if passed is False] == failing
    assert None not in verdicts(found).values()
    with pytest.raises(GateRefused, match=f"check: {failing[0]}".replace("+", r"\+")):
        platform.promote(model, "champion", gate=gate)


def test_a_version_that_live_clients_cannot_call_is_refused_by_column(platform: Platform, people: Dataset) -> None:
    """What clients really send is in the live service's prediction log; the version lacks one of their columns."""
    if reason := platform.missing(Capability.PREDICTION_LOG):
        pytest.skip(reason)
    model, live = served(platform, people, "careful")
    log = platform.prediction_log(live)
    rows = platform.sample(model, [{"name": "calls", "rows": 20}])["calls"]["rows"]
    live.predict([dict(zip(model.features, row, strict=True)) for row in rows])
    wait(lambda: log.read().rows == len(rows), what="the logged request", deadline=Deadline.after(30))
    other = platform.train(replace(people, ignore=("log_incentive",)))

    same = platform.check(model, [Consumers()], live=live)
    wrong = platform.check(other, [Consumers()], live=live)

    assert same.passed
    assert same.results[0].rows == 1
    assert wrong.failed[0].detail == "column log_incentive is extra"
