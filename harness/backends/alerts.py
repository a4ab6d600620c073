"""The alerts of a run: each is taken once however often it is told, kept for the record, and passed to who listens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from harness.report.record import AlertRecord
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog, Level
from harness.runtime.wait import wait

Listener = Callable[[AlertRecord], None]
NOT_LABELS = ("alertname", "severity")


class Inbox:
    """What Alertmanager told; thread-safe."""

    def __init__(self, events: EventLog, clock: Callable[[], float] = time.time) -> None:
        self._events, self._clock = events, clock
        self._lock = threading.Lock()
        self._alerts: dict[tuple[str, float], AlertRecord] = {}
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Pass every alert on that is raised from now on, once; in the thread that was told of it."""
        self._listeners.append(listener)

    def take(self, told: Iterable[Mapping[str, Any]]) -> None:
        """Take alerts as Alertmanager writes them; one is the same by its fingerprint and its beginning.

        Errors: KeyError, TypeError or ValueError for what is no alert; then none is taken.
        """
        for record in [_record(each, self._clock()) for each in told]:
            self._take(record)

    def hold(self, active: Iterable[Mapping[str, Any]]) -> None:
        """Take all alerts that hold now, as Alertmanager's API lists them; one that is missing there is resolved."""
        held = [_record({**each, "status": "firing"}, self._clock()) for each in active]
        for record in held:
            self._take(record)
        keys = {_key(record) for record in held}
        for gone in [each for each in self.firing() if _key(each) not in keys]:
            self._take(gone.model_copy(update={"resolved_at": self._clock()}))

    def records(self) -> list[AlertRecord]:
        """All that was raised, the first first."""
        with self._lock:
            return sorted(self._alerts.values(), key=lambda alert: alert.started_at)

    def firing(self, name: str = "", **labels: str) -> list[AlertRecord]:
        """Those that hold now, by name and labels."""
        return [each for each in self.records() if each.resolved_at is None and _is(each, name, labels)]

    def wait(self, name: str, deadline: Deadline, **labels: str) -> AlertRecord:
        """The first alert of this name and these labels, once it is raised, if it still holds or not. WaitTimeout."""

        def found() -> AlertRecord | None:
            return next((each for each in self.records() if _is(each, name, labels)), None)

        return wait(found, what=f"the alert {name}", deadline=deadline, state=self._words, every_s=0.05)

    def wait_resolved(self, alert: AlertRecord, deadline: Deadline) -> AlertRecord:
        """The alert once it is resolved. WaitTimeout."""

        def resolved() -> AlertRecord | None:
            with self._lock:
                now = self._alerts[_key(alert)]
            return now if now.resolved_at is not None else None

        return wait(resolved, what=f"the end of {alert.name}", deadline=deadline, state=self._words, every_s=0.05)

    def _take(self, record: AlertRecord) -> None:
        with self._lock:
            known = self._alerts.get(_key(record))
            news = known is None or (known.resolved_at is None and record.resolved_at is not None)
            if known is not None:
                record = known.model_copy(update={"resolved_at": known.resolved_at or record.resolved_at})
            self._alerts[_key(record)] = record
        if not news:
            return
        where = record.labels.get("service", record.name)
        if known is None:
            self._tell("firing", where, record, record.summary, "warning")
            for listener in self._listeners:
                listener(record)
        if record.resolved_at is not None:
            self._tell("resolved", where, record, "it holds no more", "info")

    def _tell(self, what: str, where: str, alert: AlertRecord, words: str, level: Level) -> None:
        message = f"{alert.name}: {words}"
        self._events.emit(f"alert.{what}", where, message, level=level, alert=alert.name, labels=alert.labels)

    def _words(self) -> str:
        return ", ".join(f"{each.name} {each.labels}" for each in self.records()) or "no alert"


def _record(told: Mapping[str, Any], now: float) -> AlertRecord:
    labels, notes = dict(told["labels"]), dict(told.get("annotations", {}))
    ended = told["status"] == "resolved"
    return AlertRecord(
        name=labels["alertname"],
        labels={name: value for name, value in labels.items() if name not in NOT_LABELS},
        severity=labels.get("severity", ""),
        summary=notes.get("summary", labels["alertname"]),
        description=notes.get("description", ""),
        value=notes.get("value", ""),
        runbook=notes.get("runbook", ""),
        fingerprint=told["fingerprint"],
        started_at=_unix(told["startsAt"]),
        told_at=now,
        resolved_at=_unix(told["endsAt"]) if ended else None,
    )


def _unix(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _key(alert: AlertRecord) -> tuple[str, float]:
    return alert.fingerprint, alert.started_at


def _is(alert: AlertRecord, name: str, labels: Mapping[str, str]) -> bool:
    return name in ("", alert.name) and labels.items() <= alert.labels.items()
