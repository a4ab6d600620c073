"""What a rehearsal will do, worked out from the settings before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from harness.lifecycle.card import RAND_WORDS, CardWords
from harness.lifecycle.checks import Check
from harness.lifecycle.dataset import Dataset, high_utiliser
from harness.lifecycle.rollout import Policy
from harness.lifecycle.sampling import AUTOMATIC
from harness.lifecycle.spec import GatePolicy

if TYPE_CHECKING:
    from harness.config import Settings

POOR_HEALTH = "poor_health == 1"
BASELINE = "baseline"
CANDIDATE = "candidate"


@dataclass(frozen=True)
class Training:
    """One version to train: a built-in estimator, or the user's "module:function"."""

    name: str
    estimator: str
    params: Mapping[str, Any] = field(default_factory=dict)
    trials: int = 0


@dataclass(frozen=True)
class Plan:
    """The data, the two versions, and the promises that the release is held against."""

    title: str
    dataset: Dataset
    baseline: Training
    candidate: Training
    shifted: str
    features: str
    deadline_s: float
    source_root: str
    gate: GatePolicy
    policy: Policy
    rps: float
    seed: int
    runner: str = "auto"
    checks: tuple[Check, ...] = ()
    card: CardWords = RAND_WORDS

    @classmethod
    def of(cls, settings: Settings) -> Plan:
        """The plan that these settings ask for."""
        dataset = _dataset(settings)
        entry, train = settings.train.entry, settings.train
        default = {} if entry else {"max_depth": 2}
        return cls(
            title=f"Release of {dataset.name}: train, gate, stage, {settings.policy.kind}, drift",
            dataset=dataset,
            baseline=Training(BASELINE, entry or "decision-tree", {**default, **train.baseline}),
            candidate=Training(
                CANDIDATE, entry or "gradient-boosting", train.candidate, trials=0 if entry else train.trials
            ),
            shifted=settings.data.drift or (POOR_HEALTH if settings.uses_default_data else AUTOMATIC),
            features=train.features if entry else "engineered",
            deadline_s=train.deadline_s,
            source_root=str(settings.root),
            gate=GatePolicy(**settings.gate.model_dump()),
            policy=settings.policy,
            rps=settings.load.rps,
            seed=settings.run.seed,
            runner=settings.pipeline.runner,
            checks=settings.model_checks,
            card=_words(settings),
        )


def _dataset(settings: Settings) -> Dataset:
    data = settings.data
    if data.file is None:
        return high_utiliser()
    return Dataset(
        name=settings.run.name,
        source=str(data.file),
        target=data.target or "",
        task=data.task,
        threshold=data.threshold,
        positive=None if data.positive is None else str(data.positive),
        slices=data.slices,
        ignore=data.ignore,
        licence=data.licence or "",
    )


def _words(settings: Settings) -> CardWords:
    """What the settings say for the card; where they say nothing, what is known of the built-in data."""
    told = settings.card
    if settings.uses_default_data and not told.model_fields_set:
        return RAND_WORDS
    return CardWords(told.intended_use or "", told.not_for or "", told.owner or "", told.limitations)
