"""Alerts as they come: once each, from those who may tell, and nothing of what is none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.backends.alerts import Inbox
from harness.clients.http import client
from harness.components.alert_receiver import MOST_BYTES, AlertReceiver
from harness.components.alertmanager import Webhook, alertmanager
from harness.errors import WaitTimeout
from harness.report.record import AlertRecord
from harness.runtime.clock import Deadline
from harness.runtime.events import Event, EventLog

BEGAN, ENDED, LATER = "2026-12-01T06:00:00Z", "2026-12-01T06:01:00.5Z", "2026-12-01T07:00:00Z"
SECRET = "a-secret"
OF_V2 = {"alertname": "Burn", "severity": "critical", "service": "model", "revision": "v2"}


def told(status: str = "firing", began: str = BEGAN, **labels: str) -> dict[str, Any]:
    """One alert as Alertmanager's webhook has it."""
    notes = {"summary": "too many fail", "description": "half of them", "value": "0.5", "runbook": "docs#burn"}
    every = {**OF_V2, **labels}
    return {
        "status": status, "labels": every, "annotations": notes, "startsAt": began, "endsAt": ENDED,
        "fingerprint": "-".join(every.values()),
    }  # fmt: skip


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    log = EventLog(tmp_path / "events.jsonl")
    yield log
    log.close()


@pytest.fixture
def events(log: EventLog) -> list[Event]:
    seen: list[Event] = []
    log.listen(seen.append)
    return seen


@pytest.fixture
def inbox(log: EventLog) -> Inbox:
    return Inbox(log, clock=lambda: 1_000_000.0)


@pytest.fixture
def receiver(inbox: Inbox) -> Iterator[AlertReceiver]:
    receiver = AlertReceiver(SECRET, inbox.take)
    receiver.start()
    yield receiver
    receiver.stop()


def send(receiver: AlertReceiver, body: Any, secret: str | None = SECRET, **more: str) -> httpx.Response:
    headers: dict[str, Any] = {"authorization": f"Bearer {secret}".encode()} if secret is not None else {}
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    with client(headers={**headers, **more}) as http:
        return http.post(receiver.url, content=iter([text]) if "transfer-encoding" in more else text)


def test_an_alert_is_taken_once_however_often_it_is_told(inbox: Inbox, events: list[Event]) -> None:
    """Alertmanager repeats itself; its end is told once as well, and what begins later is another one."""
    passed_on: list[AlertRecord] = []
    inbox.listen(passed_on.append)
    for _ in range(3):
        inbox.take([told()])
    inbox.take([told("resolved")])
    inbox.take([told("resolved"), told(), told(began=LATER)])
    first, second = inbox.records()
    assert (first.name, first.severity, first.value) == ("Burn", "critical", "0.5")
    assert first.labels == {"service": "model", "revision": "v2"}
    assert first.resolved_at == first.started_at + 60.5
    assert second.resolved_at is None
    assert inbox.firing("Burn", revision="v2") == [second]
    assert [event.kind for event in events] == ["alert.firing", "alert.resolved", "alert.firing"]
    assert [each.started_at for each in passed_on] == [first.started_at, second.started_at]


def test_what_is_listed_no_more_is_resolved(inbox: Inbox) -> None:
    """Where Alertmanager is asked: its list has what holds, and its status is a mapping there."""
    listed = [{**told(revision=name), "status": {"state": "active"}} for name in ("v1", "v2")]
    inbox.hold(listed)
    assert len(inbox.firing()) == 2
    inbox.hold(listed[:1])
    (ended,) = (each for each in inbox.records() if each.resolved_at is not None)
    assert (ended.labels["revision"], ended.resolved_at) == ("v2", 1_000_000.0)


def test_of_a_malformed_notification_nothing_is_taken(inbox: Inbox) -> None:
    """Not even the alert before the one that is none."""
    for broken in ({}, {**told(), "startsAt": "yesterday"}, {**told(), "labels": None}):
        with pytest.raises((KeyError, TypeError, ValueError)):
            inbox.take([told(), broken])
    assert inbox.records() == []


def test_who_waits_in_vain_is_told_what_came_instead(inbox: Inbox) -> None:
    """The name and the labels of what there is."""
    inbox.take([told()])
    with pytest.raises(WaitTimeout, match=r"the alert Drift: .*Burn .*v2"):
        inbox.wait("Drift", Deadline.after(0.1))


def test_a_notification_with_the_secret_is_taken(receiver: AlertReceiver, inbox: Inbox) -> None:
    """Once for each alert in it."""
    assert send(receiver, {"version": "4", "alerts": [told(), told(revision="v3")]}).status_code == 204
    assert [each.labels["revision"] for each in inbox.records()] == ["v2", "v3"]


@pytest.mark.parametrize(
    ("body", "secret", "more", "status"),
    [
        ({"alerts": [told()]}, None, {}, 401),
        ({"alerts": [told()]}, "another", {}, 401),
        ({"alerts": [told()]}, "a-secr\u00e9t", {}, 401),
        (b"{", SECRET, {}, 400),
        (b"\xff\xfe", SECRET, {}, 400),
        ([], SECRET, {}, 400),
        ({"alerts": [{}]}, SECRET, {}, 400),
        ({"alerts": [None]}, SECRET, {}, 400),
        ({"alerts": 7}, SECRET, {}, 400),
        (b" " * (MOST_BYTES + 1), SECRET, {}, 413),
        (b"{}", SECRET, {"transfer-encoding": "chunked"}, 411),
    ],
)
def test_what_may_not_or_cannot_be_taken_is_refused_and_counted(
    body: Any, secret: str | None, more: dict[str, str], status: int, receiver: AlertReceiver, inbox: Inbox
) -> None:
    """And the next one, which is well, is taken."""
    answer = send(receiver, body, secret, **more)
    assert answer.status_code == status
    assert answer.json()["error"]
    assert inbox.records() == []
    assert send(receiver, {"alerts": [told()]}).status_code == 204
    with client() as http:
        counts = http.get(receiver.url.replace("/alerts", "/health")).json()
    assert counts == {"taken": 1, "malformed": int(status in (400, 411)), "refused": int(status in (401, 413))}


def test_alertmanagers_configuration_names_the_secrets_file_and_not_the_secret(tmp_path: Path) -> None:
    """Its folder is the run's, which is kept and uploaded."""
    recipe = alertmanager(Webhook("http://127.0.0.1:1/alerts", tmp_path / "secret"), image="example/alertmanager:v1")
    text = recipe.files["alertmanager.yml"]
    assert f"credentials_file: {tmp_path / 'secret'}" in text
    assert "send_resolved: true" in text
