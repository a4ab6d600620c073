"""The in-cluster collector: takes the CloudEvents of payload loggers and keeps totals of them for many rollouts.

    python -P -m harness.components.collector [--port 8080]

POST /events/<rollout>/<revision>?baseline=…&canary=…&tolerance=…&cuts=…   an event; the first one begins the totals
GET  /answers/<rollout>                                                    the totals, as JSON; {} before any event
GET  /health

The revision is in the URL, because KServe's agent does not say it in the event. Nothing can be asked to be dropped: who
may send events may not take away another rollout's totals. They go by themselves, an hour after their last event.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from harness import __version__
from harness.components._ending import exit_zero_on_sigterm
from harness.components._json_server import JsonHandler, JsonServer
from harness.components.answers import MAX_BODY_BYTES, RESPONSE, Tally, predictions_of
from harness.components.component import EVERY_INTERFACE, Component, Limits, Ready, Restart, tag_of

IMAGE = f"rehearsal/collector:{__version__}"
PORT = 8080
MOST = 200
"""So many rollouts are remembered; then the one whose last event is the oldest is forgotten."""
KEPT_S = 3600.0
"""A rollout that has had no event for so long is forgotten."""


def collector(image: str = IMAGE) -> Component:
    """The recipe of its container: port "http"."""
    return Component(
        name="collector",
        version=tag_of(image),
        argv=("python", "-P", "-m", "harness.components.collector", "--port={port[http]}"),
        image=image,
        inside={"http": PORT},
        limits=Limits(memory_mib=256),
        ready=Ready(port="http", path="/health"),
        restart=Restart(at_most=3),
    )


@dataclass(frozen=True)
class Comparison:
    """What a rollout compares: two revisions' predictions, equal within a tolerance, counted at cuts."""

    rollout: str
    baseline: str
    canary: str
    tolerance: float
    cuts: tuple[float, ...] = ()

    def path(self, revision: str) -> str:
        """Where the logger of a revision sends its events."""
        query = {"baseline": self.baseline, "canary": self.canary, "tolerance": self.tolerance}
        cuts = {"cuts": ",".join(map(repr, self.cuts))} if self.cuts else {}
        return f"/events/{self.rollout}/{revision}?{urlencode({**query, **cuts})}"


def parse_path(path: str) -> tuple[Comparison, str]:
    """The comparison and the revision of an event's path; ValueError or LookupError if it is none."""
    split = urlsplit(path)
    _, events, rollout, revision = split.path.split("/")
    if events != "events" or not rollout or not revision:
        raise ValueError(path)
    query = {name: values[0] for name, values in parse_qs(split.query).items()}
    cuts = tuple(float(cut) for cut in query.get("cuts", "").split(",") if cut)
    return Comparison(rollout, query["baseline"], query["canary"], float(query["tolerance"]), cuts), revision


class Collector:
    """Totals by rollout; thread-safe."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._tallies: OrderedDict[str, tuple[float, Tally]] = OrderedDict()  # the longest silent first
        self._now = now
        self._lock = threading.Lock()

    def take(self, comparison: Comparison, revision: str, request_id: str, body: bytes) -> None:
        """Count the predictions of one response."""
        if found := predictions_of(body):
            self._tally(comparison).take(revision, request_id, found)

    def answers(self, rollout: str) -> dict[str, Any]:
        """The totals so far, as the fields of Answers; empty if no event came."""
        with self._lock:
            _, tally = self._tallies.get(rollout, (0.0, None))
        return asdict(tally.answers()) if tally is not None else {}

    def _tally(self, comparison: Comparison) -> Tally:
        with self._lock:
            now = self._now()
            _, tally = self._tallies.pop(comparison.rollout, (now, None))
            tally = tally or Tally(comparison.baseline, comparison.canary, comparison.tolerance, comparison.cuts)
            self._tallies[comparison.rollout] = now, tally
            while len(self._tallies) > MOST or next(iter(self._tallies.values()))[0] < now - KEPT_S:
                self._tallies.popitem(last=False)
            return tally


class CollectorServer(JsonServer):
    """The collector on a port of every interface (or of `host`)."""

    def __init__(self, port: int, host: str = EVERY_INTERFACE) -> None:
        super().__init__((host, port), _Handler)
        self.collector = Collector()


class _Handler(JsonHandler, BaseHTTPRequestHandler):
    server: CollectorServer

    def do_POST(self) -> None:
        length = self.length()
        if length is None or length > MAX_BODY_BYTES:
            self.close_connection = True
            self.answer(400)
            return
        body = self.rfile.read(length)
        try:
            comparison, revision = parse_path(self.path)
        except (ValueError, LookupError):
            self.answer(400)
            return
        if self.headers.get("ce-type") == RESPONSE:
            self.server.collector.take(comparison, revision, self.headers.get("ce-id", ""), body)
        self.answer(200)

    def do_GET(self) -> None:
        what, _, rest = self.path.removeprefix("/").partition("/")
        rollout = rest.partition("/")[0]
        if what == "answers":
            self.answer(200, self.server.collector.answers(rollout))
        else:
            self.answer(200 if what == "health" else 404)


def main(argv: list[str]) -> None:
    """Collect until SIGTERM."""
    exit_zero_on_sigterm()
    flags = argparse.ArgumentParser(prog="rehearsal-collector")
    flags.add_argument("--port", type=int, default=PORT)
    with CollectorServer(flags.parse_args(argv).port) as server:
        server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
