"""What is wrong with an InferenceService beyond its structure: names, shares, replicas, timeouts, the transformer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness.backends import assignment, scaling

if TYPE_CHECKING:
    from harness.backends.inference_service import InferenceService, Spec, Transformer

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def problems(document: InferenceService) -> Iterator[str]:
    """One line for each thing that is wrong, with its field path."""
    for path, name in _names(document):
        if not _DNS_LABEL.fullmatch(name):
            yield f"{path}: expected a DNS-1123 label (lower-case letters, digits, '-', at most 63), got {name!r}"
    yield from _traffic_problems(document.spec)
    yield from _replica_problems(document.spec)
    yield from scaling.problems(document)
    yield from assignment.problems(
        document.metadata.annotations, [entry.traffic_percent for entry in document.spec.canary]
    )
    if document.spec.transformer is not None:
        yield from _transformer_problems(document.spec.transformer)


def _names(document: InferenceService) -> Iterator[tuple[str, str]]:
    yield "metadata.name", document.name
    yield "metadata.namespace", document.namespace
    yield "spec.predictor.name", document.spec.predictor.name
    for index, entry in enumerate(document.spec.canary):
        yield f"spec.canary[{index}].predictor.name", entry.predictor.name


def _traffic_problems(spec: Spec) -> Iterator[str]:
    seen = {spec.predictor.name: "spec.predictor.name"}
    for index, entry in enumerate(spec.canary):
        path = f"spec.canary[{index}]"
        name = entry.predictor.name
        if name in seen:
            yield f"{path}.predictor.name: must differ from {seen[name]}, got {name!r}"
        seen.setdefault(name, f"{path}.predictor.name")
        if not 0 <= entry.traffic_percent <= 100:
            yield f"{path}.trafficPercent: expected 0 to 100, got {entry.traffic_percent}"
    total = sum(entry.traffic_percent for entry in spec.canary)
    if total > 100:
        yield f"spec.canary[].trafficPercent: expected a sum of at most 100, got {total}"


def _replica_problems(spec: Spec) -> Iterator[str]:
    replicas = [("spec.predictor", spec.predictor.min_replicas, 0)]
    replicas += [
        (f"spec.canary[{index}].predictor", e.predictor.min_replicas, 0) for index, e in enumerate(spec.canary)
    ]
    if spec.transformer is not None:
        replicas.append(("spec.transformer", spec.transformer.min_replicas, 1))
    for path, count, least in replicas:
        if count < least:
            yield f"{path}.minReplicas: expected at least {least}, got {count}"
    predictors = [("spec.predictor", spec.predictor.timeout)]
    predictors += [(f"spec.canary[{index}].predictor", e.predictor.timeout) for index, e in enumerate(spec.canary)]
    for path, timeout in predictors:
        if timeout is not None and timeout < 1:
            yield f"{path}.timeout: expected at least 1 second, got {timeout}"
        elif timeout != spec.predictor.timeout:
            yield f"{path}.timeout: one route serves both: expected spec.predictor.timeout, got {timeout}"


def _transformer_problems(transformer: Transformer) -> Iterator[str]:
    if len(transformer.containers) != 1:
        yield f"spec.transformer.containers: expected exactly one, got {len(transformer.containers)}"
    for index, container in enumerate(transformer.containers):
        if len(container.args) != 1 or not re.fullmatch(r"[\w.]+:\w+", container.args[0]):
            path = f"spec.transformer.containers[{index}].args"
            yield f'{path}: expected ["module:Class"] of a kserve.Model subclass, got {container.args!r}'
