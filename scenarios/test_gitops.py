"""What shall run is said in Git, and made so: by a push, by a revert, and against whoever edits by hand."""

from __future__ import annotations

import pytest

from harness import Platform
from harness.gitops import Delivery, PushRefused, Reconciler
from harness.lifecycle.dataset import Dataset
from harness.lifecycle.rollout import Phase, State
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait

PATIENT = """
kind = "canary"
steps = [50, 100]

[slo]
slower_than_ms = 250
slow = 0.2
"""
ROLLOUT = "environments/production/rollout.toml"
TREE = 'estimator = "decision-tree"\n\n[params]\nmax_depth = 6\n'
STUMP = 'estimator = "decision-tree"\n\n[params]\nmax_depth = 1\n'


def test_a_push_is_trained_staged_and_released(platform: Platform, high_utiliser: Dataset) -> None:
    """By commits of the release identity; each stage is a status of the pushed commit, and no request is lost."""
    gitops = platform.gitops(platform.train(high_utiliser, max_depth=2))
    gitops.as_("release").push({ROLLOUT: PATIENT}, "Be patient")
    reconciler = Reconciler(gitops)
    reconciler.sync()
    production = gitops.services["production", high_utiliser.name]
    pushed = gitops.as_("data-scientist").push({f"training/{high_utiliser.name}.toml": TREE}, "A deeper tree")
    with platform.load(production, rps=150, model=gitops.model) as traffic:
        assert Delivery(gitops, reconciler).deliver() == [pushed]

    states = {context: state for context, (state, _) in gitops.statuses(pushed).items()}
    stages = ["validate", "pipeline", "gate", "deploy/staging", "deploy/production"]
    assert states == dict.fromkeys(stages, "success"), gitops.statuses(pushed)
    assert production.revision == "v2"
    assert platform.registry.aliases(high_utiliser.name)["champion"] == 2
    assert [commit.author for commit in gitops.repository.log("-2")] == ["release", "release"]
    assert traffic.ledger.unexplained == 0
    assert Delivery(gitops, reconciler).deliver() == []


def test_a_push_that_makes_a_worse_model_ends_at_the_gate(platform: Platform, high_utiliser: Dataset) -> None:
    """Its status has the gate's reason, nothing is promoted, and it is not trained again."""
    gitops = platform.gitops(platform.train(high_utiliser, max_depth=6))
    reconciler = Reconciler(gitops)
    reconciler.sync()
    pushed = gitops.as_("data-scientist").push({f"training/{high_utiliser.name}.toml": STUMP}, "A stump")
    delivered = Delivery(gitops, reconciler)
    assert delivered.deliver() == [pushed]
    assert delivered.deliver() == []

    state, words = gitops.statuses(pushed)["gate"]
    assert (state, words) == ("failure", f"v2: {platform.run.record.gates[0].refusal}")
    assert set(gitops.statuses(pushed)) == {"validate", "pipeline", "gate"}
    assert gitops.repository.head() == pushed.sha
    assert {service.revision for service in gitops.services.values()} == {"v1"}


def test_a_release_that_is_rolled_back_is_said_and_not_tried_again(platform: Platform, high_utiliser: Dataset) -> None:
    """Its commit fails with the rollout's reason and what to do; done, that ends the matter, and no request is lost."""
    v1 = platform.train(high_utiliser, max_depth=2)
    v2 = platform.train(high_utiliser, train="scenarios.broken_models:errs", share=0.2)
    gitops = platform.gitops(v1)
    gitops.as_("release").push({ROLLOUT: PATIENT}, "Be patient")
    reconciler = Reconciler(gitops)
    reconciler.sync()
    production = gitops.services["production", high_utiliser.name]
    promotion = gitops.promote(v2, "production")
    with platform.load(production, rps=150, model=v1) as traffic:
        reconciler.sync()
        held = Reconciler(gitops).sync()  # one that begins anew knows it from the repository
        gitops.as_("release").revert(promotion.sha)
        after = reconciler.sync()

    (rollout,) = platform.run.record.rollouts
    reason = f"rolled back: {rollout.reason}; take the commit back with: git revert {promotion.sha[:8]}"
    assert gitops.statuses(promotion)["deploy/production"] == ("failure", reason)
    assert "errors" in rollout.reason
    assert [each.action for each in held] == ["hold"]
    assert after == []
    assert production.revision == "v1"
    assert platform.registry.aliases(high_utiliser.name)["champion"] == 1
    assert traffic.ledger.unexplained == 0


def test_a_bad_commit_is_refused_with_the_reason_as_its_status(platform: Platform, high_utiliser: Dataset) -> None:
    """Everything that is wrong with it at once; nothing of it is in the repository, and nothing changes."""
    model = platform.train(high_utiliser, max_depth=2)
    gitops = platform.gitops(model)
    before = gitops.repository.head()
    bad = f"""\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: {high_utiliser.name}
spec:
  predictor:
    name: v9
    minReplicas: 40
    model:
      storageUri: models:/{high_utiliser.name}/9
"""
    with pytest.raises(PushRefused) as caught:
        gitops.as_("ml-engineer").push({f"environments/production/{high_utiliser.name}.yaml": bad}, "Nine is better")
    (refused,) = [commit for commit in gitops.record().commits if not commit.taken]

    assert gitops.repository.head() == before
    (status,) = refused.statuses
    assert (refused.subject, status.context, status.state) == ("Nine is better", "validate", "failure")
    for reason in (
        "ml-engineer may not change production; allowed: release",
        f"{high_utiliser.name} version 9 does not exist in the registry",
        "production: minReplicas: 40 of all services together, the quota is 6",
    ):
        assert reason in status.description
        assert reason in caught.value.message


def test_a_revert_rolls_back(platform: Platform, high_utiliser: Dataset) -> None:
    """`git revert` of a promotion, pushed by the release identity, brings the version before it back."""
    v1, v2 = platform.train(high_utiliser, max_depth=2), platform.train(high_utiliser, max_depth=6)
    gitops = platform.gitops(v1)
    reconciler = Reconciler(gitops)
    reconciler.sync()
    promotion = gitops.promote(v2, "staging", by="ml-engineer")
    reconciler.sync()
    staging = gitops.services["staging", high_utiliser.name]
    assert staging.revision == "v2"
    reverted = gitops.as_("ml-engineer").revert(promotion.sha)
    reconciler.sync()
    assert staging.revision == "v1"
    assert gitops.statuses(reverted)["deploy/staging"] == ("success", f"{high_utiliser.name} v1 serves")
    assert platform.registry.aliases(high_utiliser.name)["staging"] == 1


def test_an_edit_of_the_live_state_is_told_and_healed(platform: Platform, high_utiliser: Dataset) -> None:
    """By the reconciler that runs beside it; the record says which field was what."""
    gitops = platform.gitops(platform.train(high_utiliser, max_depth=2))
    reconciler = Reconciler(gitops)
    reconciler.sync()
    service = gitops.services["staging", high_utiliser.name]
    edited = service.document.with_resources(requests={"memory": "64Mi"})
    with reconciler.running(every_s=0.2):
        platform.backend.apply(edited)
        wait(lambda: any(each.action == "heal" for each in gitops.syncs), what="healing", deadline=Deadline.after(60))
    (healed,) = [each for each in gitops.syncs if each.action == "heal"]
    live = {each.namespace: each for each in platform.backend.documents()}[service.namespace]
    assert healed.reason == "spec.predictor.model.resources.requests.memory: 64Mi, desired nothing"
    assert live.spec.predictor.model.resources is None


def test_a_reconciler_that_dies_in_a_release_is_replaced_by_one_that_converges(
    platform: Platform, high_utiliser: Dataset
) -> None:
    """It died with the canary at half of the traffic; the next one knows nothing of it, and finishes the release."""
    v1, v2 = platform.train(high_utiliser, max_depth=2), platform.train(high_utiliser, max_depth=6)
    gitops = platform.gitops(v1)
    gitops.as_("release").push({ROLLOUT: PATIENT}, "Be patient")
    Reconciler(gitops).sync()
    production = gitops.services["production", high_utiliser.name]
    gitops.promote(v2, "production")
    with platform.load(production, rps=150, model=v1) as traffic:
        with pytest.raises(_Killed):
            Reconciler(gitops, on_state=_dies_at(Phase.WATCHING)).sync()
        left = production.document.with_canary("v2", v2.uri, 50)
        platform.backend.apply(left)  # what a death leaves that had no time to clean up
        Reconciler(gitops).sync()
    assert [each.action for each in gitops.syncs[-2:]] == ["abandon", "release"]
    assert production.revision == "v2"
    assert traffic.ledger.unexplained == 0


class _Killed(BaseException):
    """As if the process were gone."""


def _dies_at(phase: Phase):  # type: ignore[no-untyped-def]
    def look(state: State) -> None:
        if state.phase is phase:
            raise _Killed

    return look
