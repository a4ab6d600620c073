"""What our small servers answer to who does not speak as their clients do: a status, soon, and they serve on."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from harness.components._json_server import JsonServer
from harness.components.activator import ActivatorServer
from harness.components.activator_control import ControlServer
from harness.components.alert_receiver import AlertReceiver
from harness.components.collector import CollectorServer
from harness.runtime.ports import LOOPBACK, reserve

MAKERS: list[Callable[[], JsonServer]] = [
    lambda: CollectorServer(0, LOOPBACK),
    lambda: ControlServer(ActivatorServer(), reserve(), LOOPBACK),
    lambda: AlertReceiver("a-secret", lambda alerts: None),
]
NAMES = ["collector", "activator", "alert receiver"]


@pytest.fixture(params=MAKERS, ids=NAMES)
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    server: JsonServer = request.param()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield int(server.server_address[1])
    server.shutdown()
    server.server_close()
    thread.join()


def status(port: int, request: str) -> int:
    """Of the answer to a request as it stands, which is not followed by anything."""
    with socket.create_connection((LOOPBACK, port), timeout=5) as connection:
        connection.sendall(request.encode())
        line = connection.makefile("rb").readline().split()
    assert line, "the connection was closed without an answer"
    return int(line[1])


@pytest.mark.parametrize(
    "request_text",
    [
        "GET nothing HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /../../etc/passwd HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST /anything HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
        "POST /anything HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999\r\n\r\n",
        "POST /anything HTTP/1.1\r\nhost: a\r\ncontent-length: many\r\n\r\n",
        "POST /anything HTTP/1.1\r\nhost: a\r\n\r\n",
    ],
    ids=["no path", "another's path", "negative", "too long", "no number", "no length"],
)
def test_it_is_refused_at_once_and_the_next_one_is_served(port: int, request_text: str) -> None:
    """A length that is none, or is too much, is not waited for; a path is looked up nowhere but in what there is."""
    assert 400 <= status(port, request_text) < 500
    assert status(port, "GET /health HTTP/1.1\r\nhost: a\r\n\r\n") == 200
