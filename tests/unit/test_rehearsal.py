"""The main job's own decisions, without its platform: what passes and what fails the release."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.config import Settings
from harness.errors import LoadFailed, StepFailed
from harness.lifecycle.rollout import Outcome
from harness.plan import Plan
from harness.rehearsal import Rehearsal
from harness.report.record import Status
from harness.run import Run
from harness.service import Rollout
from tests.unit import sample_record


class Stage:
    """A platform and a service in one, on which every rollout ends the same way, with so many requests lost."""

    def __init__(self, run: Run, outcome: Outcome, lost: int) -> None:
        self.run, self.outcome, self.lost, self.promoted = run, outcome, lost, list[str]()

    @contextmanager
    def load(self, service: Any, **how: Any) -> Iterator[Any]:
        yield SimpleNamespace(ledger=SimpleNamespace(lost=self.lost, sent=10, classes={}, path="ledger.parquet"))

    def roll_out(self, model: Any, policy: Any) -> Rollout:
        return Rollout(self.outcome, "10 of 100 requests failed", sample_record.rollout_promoted())

    def promote(self, model: Any, alias: str) -> None:
        self.promoted.append(alias)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with Run(tmp_path, title="a release", backend="embedded") as run:
        yield run


def release(run: Run, outcome: Outcome, lost: int = 0) -> list[str]:
    platform: Any = Stage(run, outcome, lost)
    Rehearsal(platform, Plan.of(Settings())).release(platform, platform)
    return list(platform.promoted)


@pytest.mark.parametrize(("outcome", "champion"), [(Outcome.PROMOTED, ["champion"]), (Outcome.CLEARED, [])])
def test_only_a_promoted_version_becomes_the_champion(run: Run, outcome: Outcome, champion: list[str]) -> None:
    """A shadow that ended well passes the step as well, and the baseline stays the champion."""
    assert release(run, outcome) == champion
    assert run.record.steps[-1].status is Status.PASSED


@pytest.mark.parametrize("outcome", [Outcome.ROLLED_BACK, Outcome.NOT_ENOUGH_EVIDENCE])
def test_any_other_end_fails_the_step_with_the_rollouts_reason(run: Run, outcome: Outcome) -> None:
    with pytest.raises(StepFailed, match=f"canary {outcome}: 10 of 100 requests failed"):
        release(run, outcome)
    assert run.record.steps[-1].status is Status.FAILED


def test_a_request_that_no_revision_answered_fails_the_step(run: Run) -> None:
    """The canary was promoted, but a client was left without an answer."""
    with pytest.raises(LoadFailed, match="canary: 1 of 10 requests were not answered by a revision"):
        release(run, Outcome.PROMOTED, lost=1)
    assert run.record.steps[-1].status is Status.FAILED
