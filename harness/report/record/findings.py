"""Of a run record: what happened around a failure, in the run, in the cluster, in others' programs."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from harness.report.record._base import Record


class EventRecord(Record):
    """One line of the run's events.jsonl; `at` in Unix seconds."""

    at: float
    kind: str
    subject: str
    message: str
    level: str = "info"
    data: dict[str, Any] = {}


class ClusterFinding(Record):
    """Something abnormal in a cluster: since when (Unix seconds), about which object, in words, and what to look at.

    `weight` in [0, 1] is how much of what went wrong it explains by itself; two findings `about` one thing are one.
    `lasting`: it was still so when it was looked at; else it happened once, `at`.
    """

    at: float
    namespace: str = Field(description='"" for what belongs to the whole cluster')
    object: str = Field(description='as kubectl takes it: "pod/iris-v2"')
    reason: str = Field(description="Kubernetes' word for it: FailedScheduling, OOMKilled")
    words: str
    because: str
    next: str
    weight: float
    about: str
    lasting: bool = False
    file: str = Field(default="", description="path of the object's description, relative to the run folder")


class UpstreamFinding(Record):
    """A fault of a program that we did not write, shown by a rehearsal against one version of it."""

    program: str
    version: str
    title: str
    shown: str = Field(description="what was seen, with numbers")
    instead: str = Field(description="what the harness does about it")
