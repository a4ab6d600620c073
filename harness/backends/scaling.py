"""What an InferenceService says of its size: autoscaling, resources, accelerators; what is wrong, and what it needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from harness.backends.backend import Capability
from harness.backends.quantities import is_quantity
from harness.errors import CapabilityMissing

if TYPE_CHECKING:
    from harness.backends.inference_service import InferenceService, Model, Predictor

AUTOSCALER_CLASS = "serving.kserve.io/autoscalerClass"
CLASSES = ("hpa", "none")
GPU = "nvidia.com/gpu"
BY_REQUESTS = ("concurrency", "rps")
"""Metrics of the gateway; the others are the replicas' own."""


def problems(document: InferenceService) -> Iterator[str]:
    """One line for each thing that is wrong, with its field path."""
    predictor = document.spec.predictor
    yield from _predictor(predictor)
    found = document.metadata.annotations.get(AUTOSCALER_CLASS)
    if found is not None and found not in CLASSES:
        yield f"metadata.annotations[{AUTOSCALER_CLASS}]: expected {' or '.join(CLASSES)}, got {found!r}"
    if found == "none" and scales(predictor):
        yield f"metadata.annotations[{AUTOSCALER_CLASS}]: none, but spec.predictor asks for autoscaling"
    if found == "hpa" and predictor.scale_metric in BY_REQUESTS:
        yield f"spec.predictor.scaleMetric: the class hpa knows cpu and memory, got {predictor.scale_metric!r}"
    yield from _model(predictor.model, "spec.predictor.model")
    for index, entry in enumerate(document.spec.canary):
        path, least, most = f"spec.canary[{index}].predictor", entry.predictor.min_replicas, predictor.max_replicas
        if most is not None and least > most:
            yield f"{path}.minReplicas: expected at most spec.predictor.maxReplicas ({most}), got {least}"
        if least == 0 and predictor.min_replicas:
            yield f"{path}.minReplicas: expected at least 1, as the predictor has, got 0"
        yield from _model(entry.predictor.model, f"{path}.model")


def needs(document: InferenceService) -> list[Capability]:
    """What a world must be able to do to honour the document's size."""
    predictor = document.spec.predictor
    models = [predictor.model, *(entry.predictor.model for entry in document.spec.canary)]
    resources = [model.resources for model in models if model.resources is not None]
    asked = {
        Capability.AUTOSCALING: scales(predictor),
        Capability.SCALE_BY_REQUESTS: predictor.scale_metric in BY_REQUESTS,
        Capability.SCALE_TO_ZERO: predictor.min_replicas == 0,
        Capability.RESOURCES: bool(resources),
        Capability.LIMITS: any("/" not in name for each in resources for name in each.limits),
    }
    return [capability for capability, wanted in asked.items() if wanted]


def require(document: InferenceService, missing: Mapping[Capability, str]) -> None:
    """Raise CapabilityMissing, with how to get it, for the first thing that the document needs and a world lacks."""
    for capability in needs(document):
        if capability in missing:
            raise CapabilityMissing(capability.value, hint=missing[capability])


def scales(predictor: Predictor) -> bool:
    """Whether the number of its replicas is an autoscaler's to say."""
    most = predictor.max_replicas
    scaled = predictor.scale_target is not None or predictor.scale_metric is not None
    return scaled or (most is not None and most > predictor.min_replicas)


def _predictor(predictor: Predictor) -> Iterator[str]:
    least, most, path = predictor.min_replicas, predictor.max_replicas, "spec.predictor"
    metric, target = predictor.scale_metric or "cpu", predictor.scale_target
    if most is not None and most < max(1, least):
        yield f"{path}.maxReplicas: expected at least {'minReplicas (' + str(least) + ')' if least else 1}, got {most}"
    if target is not None and target < 1:
        unit = "request per replica" if metric in BY_REQUESTS else "percent of the request"
        yield f"{path}.scaleTarget: expected at least 1 {unit}, got {target}"
    if metric == "memory" and target is None:
        yield f"{path}.scaleTarget: required, because KServe has no default for the metric memory"
    if most is None and (target is not None or predictor.scale_metric is not None):
        yield f"{path}.maxReplicas: required with scaleTarget or scaleMetric: without it KServe never adds a replica"
    elif most is None and least == 0:
        yield f"{path}.maxReplicas: required with minReplicas 0"
    if least == 0 and metric not in BY_REQUESTS:
        words = f"expected at least 1 with the metric {metric}, of which no replica has none, or scaleMetric"
        yield f"{path}.minReplicas: {words} {' or '.join(BY_REQUESTS)}; got 0"


def _model(model: Model, path: str) -> Iterator[str]:
    if model.resources is None:
        return
    asked, limited = model.resources.requests, model.resources.limits
    for field, quantities in (("requests", asked), ("limits", limited)):
        for name, quantity in quantities.items():
            where = f"{path}.resources.{field}[{name}]"
            if name not in ("cpu", "memory") and "/" not in name:
                yield f"{where}: expected cpu, memory or an extended resource such as {GPU}"
            elif not is_quantity(str(quantity)):
                yield f"{where}: expected a quantity as 200m, 2 or 512Mi, got {quantity!r}"
            elif "/" in name and not str(quantity).isdecimal():
                yield f"{where}: expected a whole number of devices, got {quantity!r}"
    for name, quantity in asked.items():
        if "/" in name and str(quantity) != str(limited.get(name)):
            yield f"{path}.resources.requests[{name}]: must be the limit ({limited.get(name)}), got {quantity}"
