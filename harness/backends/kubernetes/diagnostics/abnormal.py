"""What went wrong first in a cluster, and what follows from it: a pure reading of events, conditions and states."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.backends.kubernetes.diagnostics.events import of_events
from harness.backends.kubernetes.diagnostics.pods import of_pod
from harness.backends.kubernetes.diagnostics.snapshot import POD, Snapshot
from harness.backends.kubernetes.diagnostics.states import of_states
from harness.report.record import ClusterFinding

MOST = 60  # findings that a record keeps
PAST = 0.7  # what a finding that is over is worth, of one that lasts


def abnormal(seen: Snapshot) -> list[ClusterFinding]:
    """Every abnormal thing once, the first first; at most MOST, the weightiest kept."""
    told = [*of_states(seen), *of_events(seen)]
    for pod in seen.of(POD):
        told.extend(of_pod(pod, seen))
    kept = sorted(merged(told), key=lambda found: (-found.weight, found.at))[:MOST]
    return sorted(kept, key=lambda found: (found.at, -found.weight))


def ranked(found: Iterable[ClusterFinding]) -> list[ClusterFinding]:
    """The most telling first, what is past counting less; of equal ones the earliest."""
    return sorted(found, key=lambda each: (-each.weight * (1.0 if each.lasting else PAST), each.at))


def merged(told: Sequence[ClusterFinding]) -> list[ClusterFinding]:
    """What several tell of one thing, as one: the weightiest words, since the first time, lasting if any is."""
    by_thing: dict[str, list[ClusterFinding]] = {}
    for finding in told:
        by_thing.setdefault(finding.about, []).append(finding)
    return [_one(group) for group in by_thing.values()]


def _one(group: Sequence[ClusterFinding]) -> ClusterFinding:
    best = max(group, key=lambda each: (each.weight, -each.at))
    return best.model_copy(
        update={"at": min(each.at for each in group), "lasting": any(each.lasting for each in group)}
    )
