"""Tells of every Pod that serves: ready, died, retired; of a revision's replicas and of the gateway.

A Pod that ends although its Deployment wants it has died, whoever ended it; one that is given up is retired.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.backends.kubernetes.applied import REVISION_LABEL, SERVICE_LABEL, workload_name
from harness.backends.kubernetes.diagnostics.snapshot import seconds
from harness.clients.kubernetes import Kube
from harness.errors import RehearsalError
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog
from harness.runtime.wait import wait

Object = Mapping[str, Any]
WATCH_S = 30.0
AWAY_S = 0.5
BACK_S, BACK_EVERY_S = 60.0, 0.05
DEPLOYMENT = "apps/v1/Deployment"
GATEWAY = "envoy"
"""What the gateway is called in the events of every world."""


@dataclass(frozen=True)
class Life:
    """What is known of one Pod: `restarts` is how often its containers were started again."""

    name: str
    ready: bool
    ending: bool
    restarts: int

    @classmethod
    def of(cls, pod: Object) -> Life:
        """From the object."""
        status = pod.get("status", {})
        ready = any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or ())
        restarts = sum(int(each.get("restartCount", 0)) for each in status.get("containerStatuses") or ())
        return cls(pod["metadata"]["name"], ready, bool(pod["metadata"].get("deletionTimestamp")), restarts)


def change(before: Life | None, now: Life | None) -> str:
    """What happened to a Pod between two looks: "ready", "ended" (deleted, or begun to), "restarted", or ""."""
    if now is None or now.ending:
        return "ended" if before is not None and not before.ending else ""
    if before is not None and now.restarts > before.restarts:
        return "restarted"
    return "ready" if now.ready and not (before is not None and before.ready) else ""


def ended_at(pod: Object, happened: str) -> float:
    """When a Pod's container ended, in Unix seconds: by the kubelet's word, which comes late, or now."""
    now = time.time()
    if happened != "restarted":
        return now
    statuses = pod.get("status", {}).get("containerStatuses") or ()
    ends = [(each.get("lastState") or {}).get("terminated") or {} for each in statuses]
    return min(now, max((seconds(end.get("finishedAt"), now) for end in ends if end), default=now))


def is_wanted(deployment: Object | None, ready: int) -> bool:
    """Whether a Deployment wants more Pods than the `ready` ones that are left: the one that ended was not given up."""
    if deployment is None or deployment["metadata"].get("deletionTimestamp"):
        return False
    return int(deployment["spec"].get("replicas", 1)) > ready


class Lives:
    """Watches Pods until `close` and emits events as the embedded world does; `answers`: does the gateway, to us?"""

    def __init__(self, kube: Kube, events: EventLog, answers: Callable[[], bool] = lambda: True) -> None:
        self._kube, self._events, self._answers = kube, events, answers
        self._closed = threading.Event()
        self._lives: dict[tuple[str, str], Life] = {}
        self._followed: set[tuple[str, str]] = set()
        self._gateway_died = False
        self._lock = threading.Lock()

    def follow(self, namespace: str, labels: str = REVISION_LABEL) -> None:
        """Tell of the replicas in a namespace from now on."""
        self._start(namespace, labels, self._replica)

    def follow_gateway(self, namespace: str, labels: str) -> None:
        """Tell of the gateway's Pods from now on."""
        self._start(namespace, labels, self._gateway)

    def close(self) -> None:
        """Tell of nothing more."""
        self._closed.set()

    def _start(self, namespace: str, labels: str, tell: Callable[[Object, str, Life | None], None]) -> None:
        with self._lock:
            if (namespace, labels) in self._followed or self._closed.is_set():
                return
            self._followed.add((namespace, labels))
        arguments = (namespace, labels, tell)
        threading.Thread(target=self._watch, args=arguments, name=f"lives-{namespace}", daemon=True).start()

    def _watch(self, namespace: str, labels: str, tell: Callable[[Object, str, Life | None], None]) -> None:
        seen: dict[tuple[str, str], Object] = {}
        while not self._closed.is_set():
            try:
                watched = self._kube.watch("v1/Pod", namespace, labels=labels, deadline=Deadline.after(WATCH_S))
                for event in watched:
                    if self._closed.is_set():
                        return
                    self._note(event.object, event.type == "DELETED", seen, tell)
                self._note_gone(seen, tell, namespace, labels)
            except RehearsalError:  # the API server is away: what happened meanwhile is seen by the next list
                self._closed.wait(AWAY_S)

    def _note_gone(
        self,
        seen: dict[tuple[str, str], Object],
        tell: Callable[[Object, str, Life | None], None],
        namespace: str,
        labels: str,
    ) -> None:
        """Pods that went while nobody watched."""
        there = {_key(pod) for pod in self._kube.list("v1/Pod", namespace, labels=labels)}
        for key in [key for key in seen if key not in there]:
            self._note(seen[key], True, seen, tell)

    def _note(
        self,
        pod: Object,
        gone: bool,
        seen: dict[tuple[str, str], Object],
        tell: Callable[[Object, str, Life | None], None],
    ) -> None:
        key = _key(pod)
        before, now = self._lives.get(key), None if gone else Life.of(pod)
        happened = change(before, now)
        if now is None:
            self._lives.pop(key, None)
            seen.pop(key, None)
        else:
            self._lives[key] = now
            seen[key] = pod
        if happened:
            tell(pod, happened, before)

    def _replica(self, pod: Object, happened: str, before: Life | None) -> None:
        labels, name = pod["metadata"]["labels"], pod["metadata"]["name"]
        revision, service = labels[REVISION_LABEL], labels.get(SERVICE_LABEL, "")
        subject = f"{pod['metadata']['namespace']}/{service}"
        was_ready = before is not None and before.ready
        if happened == "ready":
            self._tell("replica.ready", subject, f"{name} is ready", revision=revision, pod=name)
        elif happened == "restarted" or self._missed(pod, service, revision):
            how = "was started again" if happened == "restarted" else "was killed, evicted or deleted"
            self._tell(
                "replica.died",
                subject,
                f"{name} {how}",
                level="warning",
                revision=revision,
                pod=name,
                was_ready=was_ready,
                since=ended_at(pod, happened),
            )
            if happened == "restarted" and Life.of(pod).ready:
                self._tell("replica.ready", subject, f"{name} is ready", revision=revision, pod=name)
        elif was_ready:
            self._tell("replica.retired", subject, f"{revision}-{name} retired", revision=revision, pod=name)

    def _missed(self, pod: Object, service: str, revision: str) -> bool:
        """Whether its Deployment wants it; a server that does not answer cannot have given it up."""
        namespace = pod["metadata"]["namespace"]
        try:
            deployment = self._kube.find(DEPLOYMENT, workload_name(service, revision), namespace)
            labels = f"{SERVICE_LABEL}={service},{REVISION_LABEL}={revision}"
            left = [Life.of(each) for each in self._kube.list("v1/Pod", namespace, labels=labels)]
        except RehearsalError:
            return True
        return is_wanted(deployment, sum(each.ready and not each.ending for each in left))

    def _gateway(self, pod: Object, happened: str, before: Life | None) -> None:
        name = pod["metadata"]["name"]
        if happened == "ready":
            if self._gateway_died:  # else it was there before anybody looked
                threading.Thread(target=self._tell_when_back, args=(name,), name="gateway-back", daemon=True).start()
        elif happened:
            self._gateway_died = True
            how = "was started again" if happened == "restarted" else "was killed, evicted or deleted"
            self._tell(
                "process.died",
                GATEWAY,
                f"{GATEWAY} {how}: {name}",
                level="warning",
                pod=name,
                since=ended_at(pod, happened),
            )
            if happened == "restarted" and Life.of(pod).ready:
                threading.Thread(target=self._tell_when_back, args=(name,), name="gateway-back", daemon=True).start()

    def _tell_when_back(self, name: str) -> None:
        """A Pod that is ready gets no requests before each node knows it: the gateway is back once it answers."""
        with contextlib.suppress(RehearsalError):  # it does not: then its outage has no end
            wait(self._answers, what="the gateway's answer", deadline=Deadline.after(BACK_S), every_s=BACK_EVERY_S)
            if not self._closed.is_set():
                self._tell("component.restarted", GATEWAY, f"{GATEWAY} is back: {name}", pod=name)

    def _tell(self, kind: str, subject: str, message: str, **data: Any) -> None:
        self._events.emit(kind, subject, message, **data)


def _key(pod: Object) -> tuple[str, str]:
    return pod["metadata"]["namespace"], pod["metadata"]["name"]
