"""What the collector tells Prometheus."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from harness.prediction_log.events import LABEL, Event

MOST_SERVICES = 1_000
"""So many services get series of their own: names come from whoever sends."""
OTHERS = ("", "(other)")
_PLACE = ["namespace", "service"]
_COMMITS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 1.0)


class Metrics:
    """Counters by service; what was in the log at the start is in the time of the last event, not in the counts."""

    def __init__(self, replayed: Iterable[Event] = ()) -> None:
        self._registry = registry = CollectorRegistry()
        name = "rehearsal_prediction_log"
        self._events = Counter(
            f"{name}_events", "Payload events by what became of them", [*_PLACE, "outcome"], registry=registry
        )
        self._labels = Counter(f"{name}_labels", "Ground truth by whether its request was known", [*_PLACE, "outcome"],
                               registry=registry)  # fmt: skip
        self._last = Gauge(
            f"{name}_last_event_timestamp_seconds", "When the newest event happened", _PLACE, registry=registry
        )
        self._commits = Histogram(
            f"{name}_commit_seconds", "Time to sync a commit", buckets=_COMMITS_S, registry=registry
        )
        self._refused = Counter(f"{name}_refused_commits", "Commits that the disk refused", registry=registry)
        self._known: dict[tuple[str, str], tuple[Counter, Gauge]] = {}
        self._newest: dict[tuple[str, str], float] = {}
        self._note_newest(replayed)

    def committed(self, kept: Iterable[Event], duration_s: float) -> None:
        """Events that the disk has."""
        self._commits.observe(duration_s)
        self._note_newest(kept)
        for event in kept:
            if event.kind != LABEL:
                self._of(event.namespace, event.service)[0].inc()

    def duplicate(self, event: Event) -> None:
        self._events.labels(*self._place(event.namespace, event.service), "duplicate").inc()

    def malformed(self) -> None:
        """Whose it was, nobody can say."""
        self._events.labels("", "", "malformed").inc()

    def labels(self, namespace: str, service: str, joined: int, unknown: int) -> None:
        place = self._place(namespace, service)
        self._labels.labels(*place, "joined").inc(joined)
        self._labels.labels(*place, "unknown").inc(unknown)

    def refused(self) -> None:
        self._refused.inc()

    def text(self) -> str:
        """In Prometheus's format."""
        return generate_latest(self._registry).decode()

    def _note_newest(self, events: Iterable[Event]) -> None:
        for event in events:
            place = (event.namespace, event.service)
            if event.kind != LABEL and event.at > self._newest.get(place, float("-inf")):
                gauge = self._of(*place)[1]
                self._newest[place] = event.at
                gauge.set(event.at)

    def _of(self, namespace: str, service: str) -> tuple[Counter, Gauge]:
        found = self._known.get((namespace, service))
        if found is None:
            place = self._place(namespace, service)
            found = self._events.labels(*place, "accepted"), self._last.labels(*place)
            if place != OTHERS:
                self._known[namespace, service] = found
        return found

    def _place(self, namespace: str, service: str) -> tuple[str, str]:
        known = (namespace, service) in self._known or len(self._known) < MOST_SERVICES
        return (namespace, service) if known else OTHERS
