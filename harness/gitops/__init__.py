"""GitOps: what shall run is a Git repository, and a reconciler makes it so."""

from __future__ import annotations

from harness.errors import PushRefused
from harness.gitops.delivery import Delivery
from harness.gitops.gitops import GitOps
from harness.gitops.reconciler import Reconciler
from harness.gitops.repository import Checkout, Commit, Repository

__all__ = ["Checkout", "Commit", "Delivery", "GitOps", "PushRefused", "Reconciler", "Repository"]
