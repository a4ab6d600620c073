"""A Locust user that offers a shape of load: arrivals are scheduled independently of the responses.

A slow answer delays no other request, and latency counts from the intended send time, so that a stall of the server
is seen by all requests that it met ("coordinated omission"). One user is one schedule; its requests run in greenlets.
"""

from __future__ import annotations

import contextlib
import logging
import os
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

from harness.errors import UsageError
from harness.load._timer import Timer
from harness.load.arrivals import due_times, user_of
from harness.load.audit import SelfAudit
from harness.load.records import NEVER_SENT, Failure, LoadFiles, Recorder, read_json, write_json
from harness.load.shapes import Shape
from harness.load.spec import KEY_VARIABLE
from harness.load.together import announce, conduct, quit_alone, quit_headless

_log = logging.getLogger(__name__)
events.init.add_listener(conduct)

NAP_S = 0.25  # the longest sleep of the schedule, so that a stop is noticed
GO_EVERY_S = 0.005
USER_HEADER = "x-user-id"


@dataclass(frozen=True)
class Traffic:
    """What to send: POST `path` at the rate of `shape`, with the payload's lines as bodies: in turn, or as it says.

    This process sends share `share` of `shares`: every shares-th request. `users`: how many users the requests name in
    x-user-id; 0 for no such header.
    """

    load_id: str
    path: str
    shape: Shape
    payload: Path
    folder: Path
    host: str = ""
    max_in_flight: int = 256
    timeout_s: float = 10.0
    drain_s: float = 5.0
    arrivals: str = "constant"
    seed: int = 0
    users: int = 0
    share: int = 0
    shares: int = 1


class OpenLoopUser(FastHttpUser):
    """Runs one schedule until it ends or Locust stops; subclasses say what traffic."""

    abstract = True

    def traffic(self) -> Traffic:
        raise NotImplementedError

    @task  # type: ignore[untyped-decorator]
    def arrivals(self) -> None:
        try:
            traffic = self.traffic()
        except UsageError as error:  # of what was entered on Locust's page; what came by options was refused before
            self.environment.process_exit_code = 2
            _log.error("nothing is sent: %s", error)
            raise StopUser from error
        except Exception as error:  # whatever it is: Locust would run the task again, and again
            self.environment.process_exit_code = 1
            _log.exception("nothing is sent")
            quit_headless(self.environment)
            raise StopUser from error
        try:
            Schedule(traffic, self.host or "", self.environment).run()
        except Exception as error:  # whatever it is: Locust would run the task again, over the records of this one
            self.environment.process_exit_code = 1
            _tell(LoadFiles(traffic.folder).failed(traffic.share), error)
            raise StopUser from error
        if traffic.shape.duration_s is not None:
            quit_alone(self.environment)
        raise StopUser


class Schedule:
    """Sends one share of the traffic and records every request of it exactly once."""

    def __init__(self, traffic: Traffic, url: str, environment: Any) -> None:
        self.traffic = traffic
        self.files = LoadFiles(traffic.folder)
        self.recorder = Recorder(self.files, traffic.share, traffic.shares)
        self.bodies = [line for line in traffic.payload.read_bytes().splitlines() if line.strip()]
        self.environment = environment
        self.report = environment.events.request.fire
        self.client = _client(url, traffic)
        self.in_flight: dict[int, tuple[float, float]] = {}  # sequence -> intended and actual send
        self.stopping = self.marked = False
        self.requests = self.left = 0
        self.origin = 0.0
        self.broken: OSError | None = None
        events.test_stopping.add_listener(self._stop)

    def run(self) -> None:
        """Send on schedule until it ends or Locust stops, then wait for the answers that are under way."""
        traffic = self.traffic
        timer = Timer()
        self.origin = self._begin()
        self.audit = SelfAudit(self.files.audit(traffic.share))
        with contextlib.suppress(gevent.GreenletExit):  # without --stop-timeout Locust kills its users
            for due_s in due_times(traffic.arrivals, traffic.shape, traffic.seed, traffic.share, traffic.shares):
                if not self._wait_until(self.origin + due_s, timer):
                    break
                self._arrive(self.origin + due_s)
        timer.close()
        self._finish(time.monotonic())

    def _wait_until(self, due: float, timer: Timer) -> bool:
        """Whether the time came before the load was told to stop; others run meanwhile, at least once."""
        while not self.stopping:
            timer.sleep_until(min(due, time.monotonic() + NAP_S))
            if self.audit.look():
                self.recorder.flush()
            if time.monotonic() >= due:
                return not self.stopping
        return False

    def _stop(self, **_: Any) -> None:
        self.stopping = True

    def _begin(self) -> float:
        """The load's origin on the clock of time.monotonic(); several processes are told it, so that all have one."""
        if self.traffic.shares == 1:
            write_json(self.files.go, {"origin": time.monotonic(), "started_at": time.time()})
        write_json(self.files.ready(self.traffic.share), {})
        announce(self.environment, self.files)
        while not self.files.go.exists() and not self.stopping:
            gevent.sleep(GO_EVERY_S)
        return float(read_json(self.files.go)["origin"]) if self.files.go.exists() else time.monotonic()

    def _arrive(self, due: float) -> None:
        sequence = self.traffic.share + self.requests * self.traffic.shares
        self.requests += 1
        if self.broken is not None:
            raise self.broken
        if len(self.in_flight) >= self.traffic.max_in_flight:
            now = time.monotonic()
            self._late(due, now)
            self._write(sequence, due, now, 0, "", Failure.OVERLOADED)
        else:
            self.in_flight[sequence] = (due, 0.0)
            gevent.spawn_raw(self._send, sequence, due)

    def _send(self, sequence: int, due: float) -> None:
        sent = time.monotonic()
        self.in_flight[sequence] = (due, sent)
        self._late(due, sent)
        status, revision, size, error = 0, "", 0, None
        try:
            response = self.client.request("POST", self.traffic.path, self._body(sequence), self._headers(sequence))
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
            write_json(self.files.started(self.traffic.share), {})
        if status >= 400 and error is None:
            error = OSError(f"status {status}")
        self.report(
            request_type="POST", name=self.traffic.path, response_time=(time.monotonic() - sent) * 1000,
            response_length=size, exception=error, context={},
        )  # fmt: skip

    def _body(self, sequence: int) -> bytes:
        return self.bodies[self.traffic.shape.body(sequence, len(self.bodies))]

    def _headers(self, sequence: int) -> dict[str, str]:
        headers = {"x-request-id": f"{self.traffic.load_id}-{sequence}"}
        if self.traffic.users:
            headers[USER_HEADER] = f"user-{user_of(sequence, self.traffic.users)}"
        return headers

    def _write(self, sequence: int, due: float, sent: float, status: int, revision: str, error: Failure) -> None:
        origin, now = self.origin, time.monotonic()
        delay_us = int(((sent or now) - due) * 1e6)
        intended_us = int((due - origin) * 1e6)
        self.left += error not in NEVER_SENT
        try:
            self.recorder.write(
                sequence, intended_us, intended_us + delay_us, max(0, int((now - due) * 1e6)), status, revision, error
            )
        except OSError as failed:  # in a request's greenlet: the schedule ends with it
            self.broken = failed

    def _late(self, due: float, sent: float) -> None:
        self.audit.delayed(max(0, int((sent - due) * 1e6)))

    def _finish(self, ended: float) -> None:
        deadline = ended + self.traffic.drain_s
        while self.in_flight and time.monotonic() < deadline:
            gevent.sleep(0.005)
        for sequence, (due, sent) in sorted(self.in_flight.items()):
            self._write(sequence, due, sent, 0, "", Failure.ABANDONED if sent else Failure.OVERLOADED)
        self.in_flight.clear()
        self.recorder.close()
        if self.broken is not None:
            raise self.broken
        told: dict[str, Any] = {"requests": self.requests, "left": self.left, "duration_s": ended - self.origin}
        told |= {"cpu": self.audit.close(), "cpu_by_second": self.audit.cpu_by_second(self.origin)}
        write_json(self.files.finished(self.traffic.share), told)


def _tell(failed: Path, error: Exception) -> None:
    """Leave the cause where `Load.stop` finds it, and in the log for a disk that takes no file."""
    _log.error("the schedule ended early", exc_info=error)
    with contextlib.suppress(OSError):
        write_json(failed, {"error": f"{type(error).__name__}: {error}"})


def _client(url: str, traffic: Traffic) -> HTTPClient:
    headers = {"Content-Type": "application/json", **({"Host": traffic.host} if traffic.host else {})}
    name, _, key = os.environ.get(KEY_VARIABLE, "").partition(": ")
    if key:
        headers[name] = key
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
