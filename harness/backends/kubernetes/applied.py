"""The InferenceService that KServe is given for a shape: the user's revisions, with what the traffic router needs.

Our annotations stay out of it, because KServe copies a service's annotations to its Pods: a change of the split would
restart them. Each revision is marked with its name and the digest of its content instead, which its Pods then carry.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from harness.backends.assignment import PREFIX
from harness.backends.inference_service import CanaryPredictor, InferenceService, Predictor
from harness.backends.kubernetes.plan import Shape, Wanted
from harness.backends.scaling import AUTOSCALER_CLASS

REVISION_LABEL = f"{PREFIX}revision"
CONTENT = f"{PREFIX}content"
SERVICE_LABEL = "serving.kserve.io/inferenceservice"
KIND = "serving.kserve.io/v1beta1/InferenceService"
DEPLOYMENT_MODE = "serving.kserve.io/deploymentMode"

Contents = Mapping[str, Predictor | CanaryPredictor]
LoggerUrl = Callable[[str, str], str]
"""(the document's URL, a revision) -> where that revision's events go."""


def contents_of(document: InferenceService) -> dict[str, Predictor | CanaryPredictor]:
    """The document's revisions by name."""
    found: dict[str, Predictor | CanaryPredictor] = {document.spec.predictor.name: document.spec.predictor}
    return found | {entry.predictor.name: entry.predictor for entry in document.spec.canary}


def wanted_of(document: InferenceService) -> Wanted:
    """What the document asks of the router."""
    from harness.backends.assignment import mirror_percent_of, split_of

    annotations = document.metadata.annotations
    percents = {entry.predictor.name: entry.traffic_percent for entry in document.spec.canary}
    return Wanted(document.spec.predictor.name, percents, split_of(annotations), mirror_percent_of(annotations))


def digest(revision: Predictor | CanaryPredictor) -> str:
    """What tells one content of a revision from another: its model and its logger; not its size or its role."""
    content = {
        "model": revision.model.model_dump(),
        "logger": revision.logger.model_dump() if revision.logger else None,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def service(
    document: InferenceService,
    shape: Shape,
    contents: Contents,
    weights: Mapping[str, int],
    labels: Mapping[str, str],
    logger_url: LoggerUrl = lambda url, _: url,
) -> dict[str, Any]:
    """The InferenceService of a shape. `weights` are those in effect, for people who look at the object."""
    canaries = [_canary(contents[name], weights.get(name, 0), labels, logger_url) for name in shape.canaries]
    predictor = _revision(contents[shape.predictor], labels, logger_url)
    # KServe takes the canaries' replicas off the predictor's, before they are ready: they are added here.
    predictor["minReplicas"] = contents[shape.predictor].min_replicas + sum(
        entry["predictor"]["minReplicas"] for entry in canaries
    )
    metadata = document.metadata
    annotations = {key: text for key, text in metadata.annotations.items() if not key.startswith(PREFIX)}
    annotations[DEPLOYMENT_MODE] = "Standard"
    annotations.setdefault(AUTOSCALER_CLASS, "hpa" if _scales(contents[shape.predictor]) else "none")
    if predictor.get("maxReplicas"):
        predictor["maxReplicas"] = max(predictor["maxReplicas"], predictor["minReplicas"])
    spec: dict[str, Any] = {"predictor": predictor, **({"canary": canaries} if canaries else {})}
    return {
        "apiVersion": document.api_version,
        "kind": document.kind,
        "metadata": {
            "name": document.name,
            "namespace": document.namespace,
            "labels": {**metadata.labels, **labels},
            "annotations": annotations,
        },
        "spec": spec,
    }


def _scales(predictor: Predictor | CanaryPredictor) -> bool:
    most = getattr(predictor, "max_replicas", None)
    return most is not None and most > predictor.min_replicas


def _revision(
    revision: Predictor | CanaryPredictor, labels: Mapping[str, str], logger_url: LoggerUrl
) -> dict[str, Any]:
    fields: dict[str, Any] = revision.model_dump(by_alias=True, exclude_none=True)
    if not fields["model"].get("env"):
        fields["model"].pop("env", None)
    if revision.logger is not None:
        fields["logger"]["url"] = logger_url(revision.logger.url, revision.name)
    fields["labels"] = {**labels, REVISION_LABEL: revision.name}
    fields["annotations"] = {CONTENT: digest(revision)}
    return fields


def _canary(
    revision: Predictor | CanaryPredictor, weight: int, labels: Mapping[str, str], logger_url: LoggerUrl
) -> dict[str, Any]:
    fields = _revision(revision, labels, logger_url)
    for name in ("maxReplicas", "scaleTarget", "scaleMetric"):  # KServe refuses them in a canary
        fields.pop(name, None)
    return {"predictor": fields, "trafficPercent": weight}


def workload_name(service_name: str, revision: str) -> str:
    """The name of a revision's Deployment and Service."""
    return f"{service_name}-{revision}-predictor"
