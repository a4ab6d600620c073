"""What an InferenceService says of its size: autoscaling, resources, accelerators; what is wrong, and what it needs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from harness.backends.backend import Capability
from harness.errors import CapabilityMissing

if TYPE_CHECKING:
    from harness.backends.inference_service import InferenceService, Model, Predictor

AUTOSCALER_CLASS = "serving.kserve.io/autoscalerClass"
CLASSES = ("hpa", "none")
GPU = "nvidia.com/gpu"
_QUANTITY = re.compile(r"\d+(\.\d+)?(m|k|[KMGTPE]i|[MGTPE])?")


def problems(document: InferenceService) -> Iterator[str]:
    """One line for each thing that is wrong, with its field path."""
    yield from _predictor(document.spec.predictor)
    found = document.metadata.annotations.get(AUTOSCALER_CLASS)
    if found is not None and found not in CLASSES:
        yield f"metadata.annotations[{AUTOSCALER_CLASS}]: expected {' or '.join(CLASSES)}, got {found!r}"
    if found == "none" and _scales(document.spec.predictor):
        yield f"metadata.annotations[{AUTOSCALER_CLASS}]: none, but spec.predictor asks for autoscaling"
    yield from _model(document.spec.predictor.model, "spec.predictor.model")
    for index, entry in enumerate(document.spec.canary):
        yield from _model(entry.predictor.model, f"spec.canary[{index}].predictor.model")


def needs(document: InferenceService) -> list[Capability]:
    """What a world must be able to do to honour the document's size."""
    models = [document.spec.predictor.model, *(entry.predictor.model for entry in document.spec.canary)]
    found = [Capability.AUTOSCALING] if _scales(document.spec.predictor) else []
    return found + ([Capability.RESOURCES] if any(model.resources is not None for model in models) else [])


def require(document: InferenceService, missing: Mapping[Capability, str]) -> None:
    """Raise CapabilityMissing, with how to get it, for the first thing that the document needs and a world lacks."""
    for capability in needs(document):
        if capability in missing:
            raise CapabilityMissing(capability.value, hint=missing[capability])


def _scales(predictor: Predictor) -> bool:
    most = predictor.max_replicas
    scaled = predictor.scale_target is not None or predictor.scale_metric is not None
    return scaled or (most is not None and most > predictor.min_replicas)


def _predictor(predictor: Predictor) -> Iterator[str]:
    least, most, path = predictor.min_replicas, predictor.max_replicas, "spec.predictor"
    if most is not None and most < least:
        yield f"{path}.maxReplicas: expected at least minReplicas ({least}), got {most}"
    if predictor.scale_target is not None and predictor.scale_target < 1:
        yield f"{path}.scaleTarget: expected at least 1 percent of the request, got {predictor.scale_target}"
    if predictor.scale_metric == "memory" and predictor.scale_target is None:
        yield f"{path}.scaleTarget: required, because KServe has no default for the metric memory"
    if most is None and (predictor.scale_target is not None or predictor.scale_metric is not None):
        yield f"{path}.maxReplicas: required with scaleTarget or scaleMetric: without it KServe never adds a replica"


def _model(model: Model, path: str) -> Iterator[str]:
    if model.resources is None:
        return
    asked, limited = model.resources.requests, model.resources.limits
    for field, quantities in (("requests", asked), ("limits", limited)):
        for name, quantity in quantities.items():
            where = f"{path}.resources.{field}[{name}]"
            if not _QUANTITY.fullmatch(str(quantity)):
                yield f"{where}: expected a quantity as 200m, 2 or 512Mi, got {quantity!r}"
            elif name == GPU and not str(quantity).isdecimal():
                yield f"{where}: expected a whole number of devices, got {quantity!r}"
    if GPU in asked and str(asked[GPU]) != str(limited.get(GPU)):
        yield f"{path}.resources.requests[{GPU}]: must be the limit ({limited.get(GPU)}), got {asked[GPU]}"
