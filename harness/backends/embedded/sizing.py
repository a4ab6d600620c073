"""How many replicas each revision has where an autoscaler says so, and how it is told; pure functions of a document."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace

from harness.backends.embedded.revisions import Desired, Workload
from harness.backends.inference_service import InferenceService
from harness.backends.node import NodeOptions
from harness.backends.scaling import scales
from harness.lifecycle.autoscaler import DOWN, AutoscalerSpec, Rules, Target, TargetKind

DEFAULT_TARGETS = {"cpu": 80, "concurrency": 100, "rps": 200}
"""KServe's for the CPU, Knative's for the others; memory has none."""
_KINDS = {
    "cpu": TargetKind.UTILIZATION,
    "memory": TargetKind.UTILIZATION,
    "concurrency": TargetKind.EXTERNAL_AVERAGE,
    "rps": TargetKind.EXTERNAL_AVERAGE,
}


def floors(document: InferenceService) -> dict[str, int]:
    """Revision -> its least replicas, for those that an autoscaler scales; a canary scales by the predictor's rule.

    0 only where the revision is alone: a rollout must be able to go back at once.
    """
    spec = document.spec
    if not scales(spec.predictor):
        return {}
    least = 1 if spec.canary else 0
    found = {spec.predictor.name: max(least, spec.predictor.min_replicas)}
    return found | {entry.predictor.name: max(least, entry.predictor.min_replicas) for entry in spec.canary}


def rules(document: InferenceService, options: NodeOptions) -> dict[str, AutoscalerSpec]:
    """Revision -> what its autoscaler is told."""
    predictor = document.spec.predictor
    metric = predictor.scale_metric or "cpu"
    target = Target(metric, float(predictor.scale_target or DEFAULT_TARGETS.get(metric, 80)), _KINDS[metric])
    return {
        name: AutoscalerSpec(
            least=least,
            most=predictor.max_replicas or max(1, least),
            targets=(target,),
            down=Rules(options.down_s, DOWN.policies),
            sync_s=options.sync_s,
        )
        for name, least in floors(document).items()
    }


def with_one(spec: AutoscalerSpec) -> AutoscalerSpec:
    """The same for a revision that must not be given up now."""
    return replace(spec, least=max(1, spec.least))


def first_sizes(
    document: InferenceService, before: Mapping[str, int], changed: Set[str] = frozenset()
) -> dict[str, int]:
    """Revision -> replicas to begin with: those it had; one at least where it, or its content, is new.

    A revision that may have none begins with one all the same, so that whoever waits for it learns whether it serves.
    """
    found = {name: before.get(name, max(1, least)) for name, least in floors(document).items()}
    return {name: max(1, size) if name in changed else size for name, size in found.items()}


def sized(
    wanted: Desired,
    sizes: Mapping[str, int],
    least: Mapping[str, int],
    proven: Set[tuple[str, str]],
    standby: tuple[str, int] | None,
) -> Desired:
    """What is wanted, with the autoscaler's numbers; `proven`: contents that were ready before.

    A revision that may have no replica hands its requests to `standby` meanwhile, and was ready once is ready enough.
    """

    def fit(workload: Workload) -> Workload:
        if workload.name not in sizes:
            return workload
        idles = least[workload.name] == 0 and standby is not None
        enough = 0 if idles and workload.key in proven else max(1, least[workload.name])
        return replace(workload, replicas=sizes[workload.name], enough=enough, standby=standby if idles else None)

    return replace(wanted, predictor=fit(wanted.predictor), canaries=tuple(fit(canary) for canary in wanted.canaries))
