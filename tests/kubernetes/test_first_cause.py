"""A release that fails because of the cluster: its report begins with the first abnormal thing, which nobody injected.

The faults are somebody else's doing: the run itself is told nothing of them.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from harness.backends.kubernetes.disruptions import Disruptions
from harness.backends.kubernetes.faults import WEBHOOK
from harness.backends.kubernetes.nodes import Nodes
from harness.backends.kubernetes.world import World
from harness.backends.session import Session
from harness.errors import RehearsalError, StepFailed
from harness.lifecycle.dataset import Dataset
from harness.lifecycle.rollout import Canary, Outcome
from harness.lifecycle.slo import SLO
from harness.platform import Platform
from harness.run import Run
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog

MODEL_SERVER = "docker.io/rehearsal/model-server:0.1.0"
POLICY = Canary(SLO(errors=0.2, slower_than_ms=2000, slow=0.4), steps=(50, 100), max_step_s=30.0)
Failing = Callable[[], AbstractContextManager[Platform]]


@pytest.fixture
def faults(world: World, tmp_path: Path) -> Iterator[Disruptions]:
    """What somebody else does to the cluster."""
    with closing(EventLog(tmp_path / "elsewhere.jsonl")) as log:
        yield Disruptions(world.kube, log, "elsewhere")


@pytest.fixture
def failing(rehearsal_session: Session, tmp_path: Path) -> Failing:
    """A run of its own that fails; its folder is tmp_path/run."""

    @contextmanager
    def fails() -> Iterator[Platform]:
        run = Run(tmp_path / "run", title="A release that fails", backend="kind")
        with (
            pytest.raises(RehearsalError),
            run,
            Platform(rehearsal_session.backend(run.folder, run.events), run) as own,
        ):
            yield own

    return fails


def release(platform: Platform, dataset: Dataset, undos: ExitStack, fault: Callable[[], Callable[[], None]]) -> None:
    """A canary that meets a fault as it begins; as a user's test asserts that it was promoted."""
    service = platform.deploy(platform.train(dataset, max_depth=2))
    better = platform.train(dataset, max_depth=4)
    undos.callback(fault())
    rollout = service.roll_out(better, POLICY)
    if rollout.outcome is not Outcome.PROMOTED:
        raise StepFailed(f"the canary was {rollout.outcome}: {rollout.reason}")


def likely(folder: Path) -> str:
    """The page's first word on why the run failed."""
    page = html.unescape((folder / "run" / "index.html").read_text(encoding="utf-8"))
    found = re.search(r"Most likely: (.*)", page)
    return found[1] if found else f"nothing: {page[:2000]}"


def test_an_image_that_no_node_has(
    faults: Disruptions, failing: Failing, high_utiliser: Dataset, tmp_path: Path
) -> None:
    with ExitStack() as undos, failing() as platform:
        release(platform, high_utiliser, undos, lambda: faults.hide_image(MODEL_SERVER))
    assert re.match(r"the image \S*rehearsal/model-server:0\.1\.0 of pod/\S+ cannot be pulled", likely(tmp_path))


def test_a_quota_that_is_used_up(faults: Disruptions, failing: Failing, high_utiliser: Dataset, tmp_path: Path) -> None:
    with ExitStack() as undos, failing() as platform:
        namespace = platform.backend.namespace("production")
        release(platform, high_utiliser, undos, lambda: faults.use_up_quota(namespace, Deadline.after(30)))
    assert re.match(rf"the quota rehearsal-used-up of {namespace} is used up", likely(tmp_path))


def test_a_webhook_that_nobody_answers_for(
    faults: Disruptions, failing: Failing, high_utiliser: Dataset, tmp_path: Path
) -> None:
    """What it guards is refused to the run itself, so that no event tells of it."""
    with ExitStack() as undos, failing() as platform:
        model = platform.train(high_utiliser, max_depth=2)
        undos.callback(faults.stop_webhook(*WEBHOOK))
        platform.deploy(model)
    assert re.match(r"the webhooks of kserve/kserve-webhook-server-service do not answer", likely(tmp_path))


def test_a_node_that_takes_no_pods(
    world: World, faults: Disruptions, failing: Failing, high_utiliser: Dataset, tmp_path: Path
) -> None:
    (node,) = Nodes(world.kube).names()
    with ExitStack() as undos, failing() as platform:
        release(platform, high_utiliser, undos, lambda: faults.drain(node, namespaces=[], deadline=Deadline.after(5)))
    assert re.match(rf"node/{node} is cordoned: it takes no new Pods", likely(tmp_path))
