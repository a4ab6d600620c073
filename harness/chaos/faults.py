"""The catalogue of faults, as data: what each does, whom it hits, how long, and what must not come of it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from harness.errors import UsageError
from harness.lifecycle.rollout import Phase
from harness.lifecycle.slo import is_number


class Hits(StrEnum):
    """What a fault acts on."""

    REPLICA = "a revision's replicas"
    GATEWAY = "the gateway"
    COMPONENT = "a component beside the traffic"
    READINGS = "what the rollout reads"
    CONTROLLER = "the rollout's own process"
    DISK = "the disk of the run folder"
    CLUSTER = "the cluster"
    SHARED = "what the run's containers share"


@dataclass(frozen=True)
class Fault:
    """One way in which a part fails. `lasts_s`: it is ended after so many seconds; None: it stays, or mends itself.

    `harms`: requests to the revision that it hits may fail while it lasts, and nothing else tells when.
    `bars_promotion`: a rollout that meets it before the last evidence is in must not end with a promotion.
    `settings` may be changed by whoever injects it: `share` in [0, 1], `delay_ms` as the model server's middleware
    takes it.
    """

    name: str
    does: str
    hits: Hits
    lasts_s: float | None = None
    bars_promotion: bool = False
    harms: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)

    def with_settings(self, **settings: Any) -> Fault:
        """The fault with other settings; UsageError for one that it does not have, or a share outside [0, 1]."""
        lasts_s = settings.pop("lasts_s", self.lasts_s)
        if lasts_s is not None and not (is_number(lasts_s) and lasts_s > 0):
            raise UsageError(f"fault {self.name}: lasts_s: expected seconds above 0, got {lasts_s!r}")
        if unknown := sorted(settings.keys() - self.settings.keys()):
            known = ", ".join(["lasts_s", *sorted(self.settings)])
            raise UsageError(f"fault {self.name}: it has no setting {unknown[0]!r}; it has: {known}")
        share = settings.get("share", 0.0)
        if not (is_number(share) and 0 <= share <= 1):
            raise UsageError(f"fault {self.name}: share: expected a number from 0 to 1, got {share!r}")
        if "delay_ms" in settings:
            from harness.components.fault_hook import parse_fault

            parse_fault({"delay_ms": settings["delay_ms"]})
        late_s = settings.get("late_s", 1.0)
        if not (is_number(late_s) and late_s > 0):
            raise UsageError(f"fault {self.name}: late_s: expected seconds above 0, got {late_s!r}")
        return replace(self, lasts_s=lasts_s, settings={**self.settings, **settings})


SLOW_MS = {"distribution": "lognormal", "median_ms": 800.0, "sigma": 0.2}

LATE = {"late_s": 30.0}

FAULTS: Mapping[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault("replica-killed", "kill -9 of a replica; the controller starts another", Hits.REPLICA),
        Fault("replica-hangs", "SIGSTOP: it takes requests and answers none", Hits.REPLICA, lasts_s=1.5, harms=True),
        Fault(
            "replica-errors",
            "answers 500 to a share of the requests",
            Hits.REPLICA,
            bars_promotion=True,
            harms=True,
            settings={"share": 0.3},
        ),
        Fault(
            "replica-slow",
            "adds a delay to every answer",
            Hits.REPLICA,
            bars_promotion=True,
            harms=True,
            settings={"delay_ms": SLOW_MS},
        ),
        Fault("model-corrupt", "the canary's model cannot be loaded", Hits.REPLICA, bars_promotion=True),
        Fault("gateway-restarted", "kill -9 of Envoy; the supervisor brings it back on its ports", Hits.GATEWAY),
        Fault("gateway-config-rejected", "a route file that Envoy refuses lies where it reads", Hits.GATEWAY),
        Fault("mlflow-down", "kill -9 of the tracking server and registry", Hits.COMPONENT),
        Fault("prometheus-down", "kill -9 of Prometheus", Hits.COMPONENT),
        Fault("metrics-stale", "each reading is the last one again, with its time", Hits.READINGS, bars_promotion=True),
        Fault("metrics-missing", "there is no reading", Hits.READINGS, bars_promotion=True),
        Fault("events-late", "readings tell a time that is behind", Hits.READINGS, bars_promotion=True, settings=LATE),
        Fault("disk-full", "no byte is left on the disk of the run folder", Hits.DISK, lasts_s=1.5),
        Fault("controller-killed", "kill -9 of the rollout's process; another goes on from its state", Hits.CONTROLLER),
    )
}


CLUSTER_FAULTS: Mapping[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault("node-drained", "the revision's node is cordoned, its Pods are evicted", Hits.CLUSTER, lasts_s=10.0),
        Fault("api-server-restarted", "kill -9 of the API server; its kubelet brings it back", Hits.CLUSTER),
        Fault("image-missing", "no node has the image of the model server", Hits.CLUSTER),
        Fault("quota-exhausted", "the namespace may have no more Pods than it has", Hits.CLUSTER),
        Fault("webhook-down", "nobody answers for KServe's webhooks", Hits.CLUSTER, lasts_s=8.0),
    )
}
"""Faults that only a cluster can have: `Faults.disrupt` does them."""

CONTAINER_FAULTS: Mapping[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault(
            "replica-out-of-memory",
            "its container meets its memory limit; the kernel kills it",
            Hits.REPLICA,
            lasts_s=5.0,
            harms=True,  # from when it is short of memory, which is before its end
        ),
        Fault(
            "replica-cut-off",
            "its container leaves the network, and joins it again",
            Hits.REPLICA,
            lasts_s=1.5,
            harms=True,
        ),
        Fault("volume-full", "no byte is left on the volume of fetched models", Hits.SHARED, lasts_s=3.0),
        Fault("dns-slow", "a replica that starts waits seconds for each name", Hits.SHARED, lasts_s=6.0),
    )
}
"""Faults that only containers can have; one that is killed or paused has the names of a process's."""

EVERY_FAULT: Mapping[str, Fault] = {**FAULTS, **CLUSTER_FAULTS, **CONTAINER_FAULTS}


def fault_named(name: str) -> Fault:
    """The fault of this name; UsageError with the nearest name if there is none."""
    if name in EVERY_FAULT:
        return EVERY_FAULT[name]
    raise UsageError(unknown("fault", name, EVERY_FAULT))


def phase_named(name: str) -> Phase:
    """The phase of this name, as in "rolling-back"; UsageError with the nearest name if there is none."""
    known = {phase_name(phase): phase for phase in Phase if phase is not Phase.DONE}
    if name in known:
        return known[name]
    raise UsageError(unknown("phase", name, known))


def phase_name(phase: Phase) -> str:
    """A phase as flags, marks and case names write it: "rolling-back"."""
    return phase.name.lower().replace("_", "-")


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """One line about a name that is not there: the nearest one, or all."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    told = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
    return f"unknown {what} {name!r}; {told}"
