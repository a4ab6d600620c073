"""Staging and production differ by their overlays alone, and whoever may change the one cannot touch the other."""

from __future__ import annotations

import dataclasses

import pytest
import yaml

from harness import Platform
from harness.gitops import Checkout, GitOps, PushRefused, Reconciler
from harness.gitops.overlays import Pinned, patch_of, render
from harness.gitops.plan import differences
from harness.lifecycle.dataset import Dataset


def test_a_version_goes_from_staging_to_production_by_two_commits(platform: Platform, high_utiliser: Dataset) -> None:
    """In between they serve different versions, at different hosts; what differs is the namespace and the version."""
    v1, v2 = platform.train(high_utiliser, max_depth=2), platform.train(high_utiliser, max_depth=6)
    gitops = platform.gitops(v1, staging=v2)
    gitops.as_("release").push({"environments/production/rollout.toml": None}, "Without a canary, for once")
    reconciler = Reconciler(gitops)
    reconciler.sync()
    staging, production = (gitops.services[name, high_utiliser.name] for name in ("staging", "production"))
    rows = platform.sample(v2, [{"name": "ask", "rows": 1}])["ask"]["rows"]
    answered = {each.host: each.client.ask(rows).revision for each in (staging, production)}
    differing = _differing(gitops)
    aliases = platform.registry.aliases(high_utiliser.name)
    gitops.promote(v2, "production", why="Two days in staging without a complaint.")
    reconciler.sync()

    assert answered == {staging.host: "v2", production.host: "v1"}
    assert len(answered) == 2
    assert (aliases["staging"], aliases["champion"]) == (2, 1)
    assert differing == ["metadata.namespace", "spec.predictor.model.storageUri", "spec.predictor.name"]
    assert production.revision == "v2"
    assert _differing(gitops) == ["metadata.namespace"]


def test_staging_cannot_touch_production(platform: Platform, high_utiliser: Dataset) -> None:
    """Not by its overlay, not by the base, not by its own namespace, and not with a secret that is made up."""
    v1, v2 = platform.train(high_utiliser, max_depth=2), platform.train(high_utiliser, max_depth=6)
    gitops = platform.gitops(v1)
    engineer, name = gitops.as_("ml-engineer"), high_utiliser.name
    head = gitops.repository.head()
    patch = patch_of(name, Pinned(name, v2.version))
    base = gitops.repository.files(head)[f"base/{name}.yaml"]
    slower = yaml.safe_load(base)
    slower["spec"]["predictor"]["timeout"] = 1
    kustomization = gitops.repository.files(head)["environments/staging/kustomization.yaml"]
    moved = kustomization.replace("namespace: staging", "namespace: production")

    assert "may not change production" in _refusal(engineer, f"environments/production/{name}.yaml", patch)
    assert "may not change production" in _refusal(engineer, f"base/{name}.yaml", yaml.safe_dump(slower))
    assert "expected 'staging', as the folder is called" in _refusal(
        engineer, "environments/staging/kustomization.yaml", moved
    )
    assert "may not change staging" in _refusal(gitops.as_("viewer"), f"environments/staging/{name}.yaml", patch)
    forged = dataclasses.replace(gitops.as_("release"), token="a guess")
    assert "no identity is known" in _refusal(forged, f"environments/production/{name}.yaml", patch)
    assert gitops.repository.head() == head
    engineer.push({f"environments/staging/{name}.yaml": patch}, "Staging is ours")
    assert gitops.repository.head() != head


def _differing(gitops: GitOps) -> list[str]:
    files = gitops.repository.files(gitops.repository.head())
    (staging,), (production,) = (render(files, name) for name in ("staging", "production"))
    return [line.partition(":")[0] for line in differences(staging, production)]


def _refusal(checkout: Checkout, path: str, content: str) -> str:
    with pytest.raises(PushRefused) as caught:
        checkout.push({path: content}, f"Change {path}")
    return caught.value.message
