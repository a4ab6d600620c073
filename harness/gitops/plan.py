"""From what is desired and what is live to what is done, and in which order. Pure.

The reconciler keeps no state: whatever it was in the middle of when it died, the next plan begins from what is there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.backends.inference_service import InferenceService
from harness.gitops.overlays import GITOPS, MANAGED

Key = tuple[str, str]


@dataclass(frozen=True)
class Create:
    """A service that is desired and not there."""

    document: InferenceService


@dataclass(frozen=True)
class Abandon:
    """A release that somebody began and nobody carries out any more: back to the revision that serves."""

    live: InferenceService
    document: InferenceService


@dataclass(frozen=True)
class Release:
    """Another version is desired."""

    live: InferenceService
    document: InferenceService


@dataclass(frozen=True)
class Heal:
    """The live service differs in something else than its version; `differences` say in what."""

    document: InferenceService
    differences: tuple[str, ...]


@dataclass(frozen=True)
class Remove:
    """A service that Git made and has no more."""

    live: InferenceService


Step = Create | Abandon | Release | Heal | Remove


def plan(desired: Sequence[InferenceService], live: Sequence[InferenceService]) -> list[Step]:
    """Every step to the desired state, in order. Services that Git did not make are not touched."""
    wanted = {_key(document): document for document in desired}
    there = {_key(document): document for document in live}
    steps: list[Step] = []
    for key, document in wanted.items():
        if key not in there:
            steps.append(Create(document))
        else:
            steps += _towards(kept(document, there[key]), there[key])
    steps += [
        Remove(found)
        for key, found in there.items()
        if key not in wanted and found.metadata.labels.get(MANAGED) == GITOPS
    ]
    return steps


def kept(document: InferenceService, live: InferenceService) -> InferenceService:
    """The desired document with what the platform adds to a live one: the payload logger."""
    logger = live.spec.predictor.logger
    if logger is None or document.spec.predictor.logger is not None:
        return document
    return document.with_logger(logger.url, logger.mode)


def differences(live: InferenceService, desired: InferenceService) -> list[str]:
    """Each field that differs: "spec.predictor.minReplicas: 3, desired 1"."""
    found, wanted = (dict(_flat(each.to_dict())) for each in (live, desired))
    return [
        f"{path}: {found.get(path, 'nothing')}, desired {wanted.get(path, 'nothing')}"
        for path in sorted({*found, *wanted})
        if found.get(path) != wanted.get(path)
    ]


def _towards(document: InferenceService, live: InferenceService) -> Iterator[Step]:
    if live.spec.canary:
        yield Abandon(live, document)
        for entry in live.spec.canary:
            live = live.without_canary(entry.predictor.name)
    if _version(live) != _version(document):
        yield Release(live, document)
        return
    if found := differences(live, document):
        yield Heal(document, tuple(found))


def _version(document: InferenceService) -> tuple[str, str]:
    return document.spec.predictor.name, document.spec.predictor.model.storage_uri


def _key(document: InferenceService) -> Key:
    return document.namespace, document.name


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _flat(inner, f"{path}[{index}]")
    else:
        yield path, value
