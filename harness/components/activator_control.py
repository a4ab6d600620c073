"""The activator in a container: what it holds, told and asked over HTTP.

    python -P -m harness.components.activator_control [--port 8080] [--held-port 8081]

POST /hold    {"host": ..., "within_s": ...}    as ActivatorServer.hold, and so on
POST /let-go  {"host": ...}
POST /refuse  {"host": ..., "why": ...}
POST /close   {}                                also answers who waits for news
GET  /held    {"begun": number of requests that ever began to wait, "held": {host: requests that wait now}}
GET  /held?but=N                                the same, as soon as `begun` is another number than N; after 20 s anyway
GET  /health
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from harness.components import collector
from harness.components._ending import exit_zero_on_sigterm
from harness.components._json_server import JsonHandler, JsonServer
from harness.components.activator import ActivatorServer
from harness.components.component import EVERY_INTERFACE, Component, Limits, Ready, Restart, tag_of

PORT, HELD_PORT = 8080, 8081
NEWS_S = 20.0
UNKNOWN_S = 10.0
MOST_BYTES = 1 << 20
"""So long a request waits in one that was started again for somebody to say what is to become of it."""


def activator(image: str = collector.IMAGE) -> Component:
    """The recipe of its container, of an image that has our code; port "http" is the control's.

    What is held comes to HELD_PORT from the containers of its network alone, and is not published.
    """
    return Component(
        name="activator",
        version=tag_of(image),
        argv=(
            "python", "-P", "-m", "harness.components.activator_control",
            "--port={port[http]}", f"--held-port={HELD_PORT}",
        ),
        image=image,
        inside={"http": PORT},
        limits=Limits(memory_mib=256),
        ready=Ready(port="http", path="/health"),
        restart=Restart(at_most=3),
    )  # fmt: skip


class ControlServer(JsonServer):
    """The control of one activator, which listens from now on."""

    def __init__(self, holding: ActivatorServer, port: int, host: str = EVERY_INTERFACE) -> None:
        super().__init__((host, port), _Handler)
        self._holding = holding
        self._begun = 0
        self._closed = False
        self._news = threading.Condition()
        holding.wanted = self._begins
        self.held_at = holding.address

    def act(self, path: str, told: dict[str, Any]) -> None:
        """Do what a POST says; LookupError, TypeError or ValueError if it says nothing that is known."""
        if path == "/hold":
            self._holding.hold(told["host"], within_s=float(told["within_s"]))
        elif path == "/let-go":
            self._holding.let_go(told["host"])
        elif path == "/refuse":
            self._holding.refuse(told["host"], told["why"])
        elif path == "/close":
            self._close()
        else:
            raise LookupError(path)

    def held(self, but: int | None) -> dict[str, Any]:
        """What waits, once another number of requests than `but` began to; at once if that is None."""
        with self._news:
            if but is not None:
                self._news.wait_for(lambda: self._closed or self._begun != but, NEWS_S)
            return {"begun": self._begun, "held": self._holding.held()}

    def _begins(self, _host: str) -> None:
        with self._news:
            self._begun += 1
            self._news.notify_all()

    def _close(self) -> None:
        self._holding.close()
        with self._news:
            self._closed = True
            self._news.notify_all()


class _Handler(JsonHandler, BaseHTTPRequestHandler):
    server: ControlServer

    def do_POST(self) -> None:
        try:
            if (length := self.length()) is None or length > MOST_BYTES:
                raise ValueError("content-length")
            self.server.act(self.path, json.loads(self.rfile.read(length)))
        except (ValueError, LookupError, TypeError):
            self.close_connection = True
            self.answer(400)
        else:
            self.answer(200, {})

    def do_GET(self) -> None:
        split = urlsplit(self.path)
        if split.path == "/held":
            but = parse_qs(split.query).get("but", [""])[0]
            self.answer(200, self.server.held(int(but) if but.isdecimal() else None))
        else:
            self.answer(200 if split.path == "/health" else 404)


def main(argv: list[str]) -> None:
    """Hold until SIGTERM."""
    exit_zero_on_sigterm()
    flags = argparse.ArgumentParser(prog="rehearsal-activator")
    flags.add_argument("--port", type=int, default=PORT)
    flags.add_argument("--held-port", type=int, default=HELD_PORT)
    asked = flags.parse_args(argv)
    with ControlServer(ActivatorServer(asked.held_port, EVERY_INTERFACE, unknown_s=UNKNOWN_S), asked.port) as server:
        server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
