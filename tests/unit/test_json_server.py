"""What our small servers answer to who does not speak as their clients do: a status, soon, and they serve on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from harness.components._json_server import JsonHandler, JsonServer
from harness.components.activator import ActivatorServer
from harness.components.activator_control import ControlServer
from harness.components.alert_receiver import AlertReceiver
from harness.components.answers import AnswerCollector
from harness.components.collector import CollectorServer
from harness.components.metrics_server import MetricsServer
from harness.load import pod
from harness.runtime.ports import LOOPBACK, reserve
from tests import hostile

TOKEN = "a-token"
SOON_S = 1.0


def generator() -> Any:
    return SimpleNamespace(state=lambda: {"files": []}, stop=lambda: pytest.fail("it was stopped"))


MAKERS: dict[str, Callable[[], JsonServer]] = {
    "collector": lambda: CollectorServer(0, LOOPBACK),
    "activator": lambda: ControlServer(ActivatorServer(), reserve(), LOOPBACK),
    "alert receiver": lambda: AlertReceiver("a-secret", lambda alerts: None),
    "load": lambda: pod.server(generator(), 0, pod.digest(TOKEN), LOOPBACK),
    "metrics": lambda: MetricsServer(CollectorRegistry()),
    "answers": lambda: cast(JsonServer, AnswerCollector(baseline="a", canary="b", tolerance=0.1)._server),
}
SERVING = {"load": "/state", "metrics": "/metrics", "answers": "/"}
"""What each answers to who asks for something that there is, if it is not /health."""


@pytest.fixture(params=MAKERS)
def served(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """A server of ours, by its name, and its port."""
    monkeypatch.setattr(JsonHandler, "read_s", SOON_S)
    server = MAKERS[request.param]()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    if request.param not in ("metrics", "answers"):  # those serve from the start
        thread.start()
    yield request.param, int(server.server_address[1])
    server.shutdown()
    server.server_close()


def serves(name: str, port: int) -> bool:
    path = SERVING.get(name, "/health")
    method = "POST" if name == "answers" else "GET"
    request = f"{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    return hostile.send(port, request.encode()).what == 200


def test_each_hostile_request_is_refused_soon_and_the_next_one_is_served(
    served: tuple[str, int], tmp_path: Path
) -> None:
    """What is no request, too much of one or another's path: 4xx or the end of the connection, and nothing is read."""
    name, port = served
    outside = tmp_path / "outside.txt"
    outside.write_text("a secret of somebody else")
    outcomes = dict(hostile.attack(port, outside))
    if name == "answers":  # whatever is posted to it is an event that it does not know
        outcomes = {what: found for what, found in outcomes.items() if found.what != 200}
    assert {what: found.what for what, found in outcomes.items() if not found.refused} == {}
    assert not any(b"somebody else" in found.content for found in outcomes.values())
    assert serves(name, port)


def test_a_head_that_never_ends_is_hung_up_on(served: tuple[str, int]) -> None:
    """It would hold a thread for ever; others are served meanwhile."""
    name, port = served
    found = hostile.drip(port, within_s=5 * SOON_S)
    assert found.refused
    assert found.took_s < 3 * SOON_S
    assert serves(name, port)


def test_a_load_is_ended_by_the_run_that_made_it_alone() -> None:
    """Whoever else reaches the Pod may look, and that is all."""
    known = pod.digest(TOKEN)
    assert pod.may_stop(b'{"token": "a-token"}', known)
    for body in (b"", b"{}", b"[]", b"null", b"\xff", b'{"token": ""}', b'{"token": "another"}', known.encode()):
        assert not pod.may_stop(body, known)
