"""Of a run record: the commits of the desired state, what was said of each, and what the reconciler did."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.report.record._base import Record


class CommitStatus(Record):
    """One check or deployment of a commit, as forges show them; the last of a context counts."""

    context: str = Field(description='"validate", "pipeline", "gate", or "deploy/<environment>"')
    state: Literal["pending", "success", "failure"]
    description: str
    at: float


class CommitRecord(Record):
    sha: str
    subject: str
    author: str
    at: float
    taken: bool = Field(default=True, description="False: it was refused, and is not in the repository")
    statuses: list[CommitStatus] = []


class SyncRecord(Record):
    """One thing that the reconciler did, or would not do."""

    at: float
    took_s: float = 0.0
    commit: str
    environment: str
    service: str
    action: str = Field(description='"create", "release", "heal", "abandon", "remove" or "hold"')
    reason: str


class GitOpsRecord(Record):
    repository: str = Field(description="path of the bare repository, relative to the run folder")
    commits: list[CommitRecord] = []
    syncs: list[SyncRecord] = []
