"""Hostile requests against every port that a run listens on: refused in time, and nobody is the worse for it.

The ports are those that the kernel says the run's processes listen on, so that a new one cannot be forgotten.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from harness import Platform
from harness.backends.backend import Capability, Part
from harness.backends.embedded.backend import EmbeddedBackend
from harness.components.activator import NOT_HERE
from harness.lifecycle.dataset import Dataset
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait
from harness.service import inference_service
from tests import hostile
from tests.hostile import OPEN, Outcome

READ_S = 10.0
"""So long any server of ours, the gateway among them, waits for a request to be whole."""
SLACK_S = 5.0
OF_OTHERS = ("mlflow", "prometheus", "alertmanager", "production.")
"""Children whose HTTP servers are not ours: uvicorn, and Go's. They have no limit for slow heads that we could set."""


@dataclass(frozen=True)
class Listener:
    """A port that a process of the run listens on."""

    owner: str
    pid: int
    host: str
    port: int
    ours: bool


@pytest.fixture
def listeners(platform: Platform, high_utiliser: Dataset) -> list[Listener]:
    """Every port of a run that has every part, one service that serves and one that waits for its first request."""
    platform.require(Capability.ALERTS)
    platform.start(Part.TRACKING, Part.SERVING, Part.METRICS, Part.DRIFT, Part.PREDICTIONS)
    model = platform.train(high_utiliser, max_depth=2)
    service = platform.deploy(model)
    platform.watch_drift(service, window_s=3600)
    platform.alerts.records()
    document = inference_service(model, name="asleep", namespace="production", replicas=1)
    platform.apply(document.with_autoscaling(2, metric="concurrency", target=2, least=0), model=model)
    children = platform.backend.supervisor.children
    asleep = lambda: not any(child.name.startswith("production.asleep") for child in children())  # noqa: E731
    wait(asleep, what="its sleep", deadline=Deadline.after(60))
    assert isinstance(platform.backend, EmbeddedBackend)
    return list(_listening(platform.backend))


def _listening(backend: EmbeddedBackend) -> Iterator[Listener]:
    owners = {pid: child.name for child in backend.supervisor.children() for pid in _family(child.pid)}
    gateway = urlsplit(backend.gateway_url).port
    for each in psutil.net_connections(kind="tcp"):
        if each.status == psutil.CONN_LISTEN and each.pid in {os.getpid(), *owners}:
            owner = owners.get(each.pid, "rehearsal")
            host, port = map(str, tuple(each.laddr))
            ours = not owner.startswith(OF_OTHERS) and not (owner == "envoy" and int(port) != gateway)
            yield Listener(owner, each.pid, host, int(port), ours)


def _family(pid: int) -> list[int]:
    return [pid, *(each.pid for each in psutil.Process(pid).children(recursive=True))]


def test_each_port_refuses_what_is_hostile_and_serves_on(
    platform: Platform, listeners: list[Listener], tmp_path: Path
) -> None:
    """4xx or the end of the connection, within a bound; no process dies, no file outside is read, answers go on."""
    outside = tmp_path / "outside.txt"
    outside.write_text("a secret of somebody else")
    assert {each.owner for each in listeners if each.ours} >= {"rehearsal", "envoy", "prediction-log", "drift-exporter"}
    assert {each.owner for each in listeners if not each.ours} >= {"envoy", "mlflow", "prometheus", "alertmanager"}
    bound = READ_S + SLACK_S
    with ThreadPoolExecutor(2 * len(listeners)) as pool:
        drips = pool.map(lambda each: hostile.drip(each.port, within_s=bound, host=each.host), listeners)
        attacks = pool.map(lambda each: dict(hostile.attack(each.port, outside, host=each.host)), listeners)
        slow, found = dict(zip(listeners, drips, strict=True)), dict(zip(listeners, attacks, strict=True))
    told = [
        f"{each.owner}:{each.port} {name}: {outcome.what} after {outcome.took_s:.1f} s"
        for each, outcomes in found.items()
        for name, outcome in outcomes.items()
        if not _in_order(each, outcome) or b"somebody else" in outcome.content
    ]
    told += [f"{each.owner}:{each.port} a slow head: {slow[each].what}" for each in listeners if not _ended(each, slow)]
    assert not told, "\n".join(told)
    assert [each for each in listeners if not _answers(each)] == []
    assert platform.backend.supervisor.deaths == []
    assert platform.registry.aliases("high-utiliser")


def _in_order(listener: Listener, outcome: Outcome) -> bool:
    """Ours refuse; the activator answers a request that is one as Envoy's upstream has to. Others do not break down."""
    if listener.ours:
        return outcome.refused or (outcome.what == 503 and NOT_HERE.encode() in outcome.content)
    return outcome.what != 500


def _ended(listener: Listener, slow: dict[Listener, Outcome]) -> bool:
    return slow[listener].refused or (not listener.ours and slow[listener].what == OPEN)


def _answers(listener: Listener) -> bool:
    request = b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n"
    return isinstance(hostile.send(listener.port, request, host=listener.host).what, int)
