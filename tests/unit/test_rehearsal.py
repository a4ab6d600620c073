"""The main job's own decisions, without its platform: what ends a step although the rollout was promoted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.config import Settings
from harness.errors import StepFailed
from harness.lifecycle.rollout import Outcome
from harness.plan import Plan
from harness.rehearsal import Rehearsal
from harness.report.record import RolloutRecord, Status
from harness.run import Run
from harness.service import Rollout
from tests.unit import sample_record


class Promoting:
    """A platform and a service in one, on which every canary is promoted with the given record."""

    def __init__(self, run: Run, record: RolloutRecord) -> None:
        self.run, self.record, self.promoted = run, record, list[str]()

    @contextmanager
    def load(self, service: Any, rps: float) -> Iterator[Any]:
        yield SimpleNamespace(ledger=SimpleNamespace(check=lambda: None, lost=0, sent=10, classes={}))

    def canary(self, model: Any, **kw: Any) -> Rollout:
        return Rollout(Outcome.PROMOTED, "within the SLO", self.record)

    def promote(self, model: Any, alias: str) -> None:
        self.promoted.append(alias)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    with Run(tmp_path, title="a release", backend="embedded") as run:
        yield run


def release(run: Run, record: RolloutRecord) -> list[str]:
    platform: Any = Promoting(run, record)
    Rehearsal(platform, Plan.of(Settings())).release(platform, platform)
    return list(platform.promoted)


def test_a_promoted_canary_whose_split_fits_becomes_the_champion(run: Run) -> None:
    """The step passes, and the alias moves."""
    assert release(run, sample_record.rollout_promoted()) == ["champion"]
    assert run.record.steps[-1].status is Status.PASSED


def test_a_split_that_does_not_fit_fails_the_canary_step(run: Run) -> None:
    """The canary keeps its SLO, but the gateway did not do what was asked: the step names which weight and how far."""
    record = sample_record.rollout_promoted()
    wrong = {"percent": 10, "configured": 0.1, "observed": 0.15, "requests": 5000, "p_value": 2.1e-24, "passed": False}
    record.split = {"passed": False, "steps": [wrong, *record.split["steps"][1:]]}
    with pytest.raises(StepFailed) as caught:
        release(run, record)
    assert str(caught.value) == (
        "canary: at 10 % the split was wrong: 15.00% of 5000 requests reached v2, 10% is configured (p-value 2.1e-24)."
    )
    assert run.record.steps[-1].status is Status.FAILED
