"""A Locust user that offers a fixed rate: arrivals are scheduled independently of the responses.

A slow answer delays no other request, and latency counts from the intended send time, so that a stall of the server
is seen by all requests that it met ("coordinated omission"). One user is one schedule; its requests run in greenlets.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gevent
from geventhttpclient.client import HTTPClient
from geventhttpclient.response import HTTPParseError
from locust import FastHttpUser, events, task
from locust.exception import StopUser

from harness.load._timer import Timer
from harness.load.records import Failure, LoadFiles, Recorder, write_json

_log = logging.getLogger(__name__)

FLUSH_EVERY_S = 0.5
NAP_S = 0.25  # the longest sleep of the schedule, so that a stop is noticed


@dataclass(frozen=True)
class Traffic:
    """What to send: `rps` arrivals a second of POST `path`, with the payload's lines in turn as bodies."""

    load_id: str
    path: str
    rps: float
    payload: Path
    folder: Path
    host: str = ""
    max_in_flight: int = 256
    timeout_s: float = 10.0
    drain_s: float = 5.0


class OpenLoopUser(FastHttpUser):
    """Runs one schedule until Locust stops; subclasses say what traffic."""

    abstract = True

    def traffic(self) -> Traffic:
        raise NotImplementedError

    @task  # type: ignore[untyped-decorator]
    def arrivals(self) -> None:
        traffic = self.traffic()
        try:
            Schedule(traffic, self.host or "", self.environment).run()
        except Exception as error:  # whatever it is: Locust would run the task again, over the records of this one
            self.environment.process_exit_code = 1
            _tell(LoadFiles(traffic.folder), error)
            raise StopUser from error
        raise StopUser


class Schedule:
    """Sends the traffic and records every request of it exactly once."""

    def __init__(self, traffic: Traffic, url: str, environment: Any) -> None:
        self.traffic = traffic
        self.files = LoadFiles(traffic.folder)
        self.recorder = Recorder(self.files)
        self.bodies = itertools.cycle([line for line in traffic.payload.read_bytes().splitlines() if line.strip()])
        self.report = environment.events.request.fire
        self.client = _client(url, traffic)
        self.in_flight: dict[int, tuple[float, float]] = {}  # sequence -> intended and actual send
        self.stopping = self.marked = False
        self.sequence = 0
        self.origin = self.flushed_at = self.started_at = 0.0
        events.test_stopping.add_listener(self._stop)

    def run(self) -> None:
        """Send on schedule until Locust stops, then wait for the answers that are under way."""
        timer = Timer()
        self.origin = self.flushed_at = time.monotonic()
        self.started_at = time.time()
        while not self.stopping:
            due = self.origin + self.sequence / self.traffic.rps
            timer.sleep_until(min(due, time.monotonic() + NAP_S))
            if time.monotonic() >= due and not self.stopping:
                self._arrive(due)
        timer.close()
        self._finish(time.monotonic())

    def _stop(self, **_: Any) -> None:
        self.stopping = True

    def _arrive(self, due: float) -> None:
        sequence, self.sequence = self.sequence, self.sequence + 1
        if len(self.in_flight) >= self.traffic.max_in_flight:
            self._write(sequence, due, time.monotonic(), 0, "", Failure.OVERLOADED)
        else:
            self.in_flight[sequence] = (due, 0.0)
            gevent.spawn_raw(self._send, sequence, due, next(self.bodies))
        if due - self.flushed_at > FLUSH_EVERY_S:
            self.recorder.flush()
            self.flushed_at = due

    def _send(self, sequence: int, due: float, body: bytes) -> None:
        sent = time.monotonic()
        self.in_flight[sequence] = (due, sent)
        status, revision, size, error = 0, "", 0, None
        try:
            response = self.client.request(
                "POST", self.traffic.path, body, {"x-request-id": f"{self.traffic.load_id}-{sequence}"}
            )
            size = len(response.read())
            status, revision = response.status_code, response.get("x-served-by", "")
        except (OSError, HTTPParseError) as caught:
            error = caught
        if self.in_flight.pop(sequence, None) is None:
            return  # given up at the end of the load, and recorded as such
        failure = _failure(error)
        self._write(sequence, due, sent, status, revision, failure)
        if failure is not Failure.NO_CONNECTION and not self.marked:
            self.marked = True
            write_json(self.files.started, {"started_at": self.started_at})
        if status >= 400 and error is None:
            error = OSError(f"status {status}")
        self.report(
            request_type="POST", name=self.traffic.path, response_time=(time.monotonic() - sent) * 1000,
            response_length=size, exception=error, context={},
        )  # fmt: skip

    def _write(self, sequence: int, due: float, sent: float, status: int, revision: str, error: Failure) -> None:
        origin, now = self.origin, time.monotonic()
        sent = sent or now
        self.recorder.write(
            sequence, int((due - origin) * 1e6), int((sent - origin) * 1e6), max(0, int((now - due) * 1e6)),
            status, revision, error,
        )  # fmt: skip

    def _finish(self, ended: float) -> None:
        deadline = ended + self.traffic.drain_s
        while self.in_flight and time.monotonic() < deadline:
            gevent.sleep(0.005)
        for sequence, (due, sent) in sorted(self.in_flight.items()):
            self._write(sequence, due, sent, 0, "", Failure.ABANDONED)
        self.in_flight.clear()
        self.recorder.close()
        write_json(self.files.finished, {"requests": self.sequence, "duration_s": ended - self.origin})


def _tell(files: LoadFiles, error: Exception) -> None:
    """Leave the cause where `Load.stop` finds it, and in the log for a disk that takes no file."""
    _log.error("the schedule ended early", exc_info=error)
    with contextlib.suppress(OSError):
        write_json(files.failed, {"error": f"{type(error).__name__}: {error}"})


def _client(url: str, traffic: Traffic) -> HTTPClient:
    headers = {"Content-Type": "application/json", **({"Host": traffic.host} if traffic.host else {})}
    return HTTPClient.from_url(
        url,
        headers=headers,
        concurrency=traffic.max_in_flight,
        connection_timeout=traffic.timeout_s,
        network_timeout=traffic.timeout_s,
    )


def _failure(error: Exception | None) -> Failure:
    if error is None:
        return Failure.NONE
    if isinstance(error, TimeoutError):
        return Failure.TIMEOUT
    unreachable = isinstance(error, ConnectionRefusedError | socket.gaierror)
    return Failure.NO_CONNECTION if unreachable else Failure.DISCONNECTED
