"""The gateway's access log, streamed from its Pods' output into the run's file; no line is lost or doubled.

The API server gives a container's log from a time on, and one time may have several lines: after a break the lines
that were taken already are skipped by their time and their number in it. A container that was started again has its
former log asked for before the new one is followed, and a Pod that comes later is followed from its first line.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.backends.kubernetes.probe import PROBE_MARK
from harness.backends.kubernetes.routes import VERSION_PATH
from harness.clients.kubernetes import Kube, Object, Stream
from harness.errors import RehearsalError, RequestFailed
from harness.runtime.clock import Deadline

CONTAINER = "envoy"
WATCH_S = 30.0
AWAY_S = 0.5
BEFORE_S = 60
"""So much earlier than the stream begins are lines asked for: clocks differ, and other runs' lines are left out."""

Fields = Mapping[str, Any]


@dataclass
class Cursor:
    """How far one container's log was taken: the time of the last line (ns), and how many lines had that time."""

    last_ns: int = 0
    taken: int = 0
    again: int = field(default=0, repr=False)

    def begin(self) -> None:
        """The log is read anew from the last time on."""
        self.again = 0

    def is_new(self, at_ns: int) -> bool:
        """Whether a line of this time was not taken before; notes it if so."""
        if at_ns < self.last_ns:
            return False
        if at_ns > self.last_ns:
            self.last_ns, self.taken, self.again = at_ns, 1, 1
            return True
        self.again += 1
        if self.again <= self.taken:
            return False
        self.taken = self.again
        return True

    @property
    def since(self) -> str | None:
        """The time to ask from, as RFC 3339; None before any line."""
        return rfc3339(self.last_ns) if self.last_ns else None


def rfc3339(at_ns: int) -> str:
    """Nanoseconds since 1970 as UTC."""
    seconds, rest = divmod(at_ns, 10**9)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09}Z"


def nanoseconds(text: str) -> int:
    """An RFC 3339 time in nanoseconds since 1970; its fraction may have any length. ValueError if it is none."""
    import calendar

    whole, _, rest = text.partition(".")
    zone_at = next((at for at, letter in enumerate(rest) if letter in "Z+-"), len(rest))
    if not rest:
        whole = whole.removesuffix("Z")
    elif rest[zone_at:] not in ("Z", "+00:00", ""):
        raise ValueError(text)
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) * 10**9 + int(rest[:zone_at].ljust(9, "0")[:9])


def parse_line(line: str) -> tuple[int, str, dict[str, Any]] | None:
    """(time in ns, text, fields) of a line of the access log; None for what else Envoy writes."""
    stamp, _, text = line.partition(" ")
    if not text.startswith("{"):
        return None
    try:
        fields = json.loads(text)
        return nanoseconds(stamp), text, fields
    except ValueError:
        return None


def is_traffic(fields: Fields) -> bool:
    """Whether a line is of a request that is not the router's own."""
    path = str(fields.get("path") or "")
    return not path.startswith(VERSION_PATH) and PROBE_MARK not in path


class AccessLogStream:
    """Follows the gateway's Pods until `close`; `wanted` chooses lines by their fields.

    `listener` gets each of them, those of the router's own probes too, which are not in the file.
    """

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        selector: str,
        path: Path,
        wanted: Callable[[Fields], bool],
        listener: Callable[[Fields], None],
    ) -> None:
        self._kube = kube
        self._namespace = namespace
        self._selector = selector
        self._wanted = wanted
        self._listener = listener
        self._begin = rfc3339(int((time.time() - BEFORE_S) * 1e9))
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._streams: dict[str, Stream] = {}
        self._threads: list[threading.Thread] = []
        self.connected = threading.Event()
        """Set once the log of one Pod is being followed."""

    def start(self) -> None:
        """Follow the Pods that there are, and those that come."""
        self._thread("gateway-pods", self._watch)

    def close(self) -> None:
        """Take no more lines; what was taken is in the file."""
        self._closed.set()
        with self._lock:
            streams = list(self._streams.values())
        for stream in streams:
            stream.close()
        for thread in self._threads[1:]:
            thread.join(timeout=5)
        with self._lock:
            self._file.close()

    def _thread(self, name: str, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _watch(self) -> None:
        known: set[str] = set()
        while not self._closed.is_set():
            try:
                watched = self._kube.watch(
                    "v1/Pod", self._namespace, labels=self._selector, deadline=Deadline.after(WATCH_S)
                )
                for event in watched:
                    if self._closed.is_set():
                        return
                    pod = event.object
                    if pod["metadata"]["uid"] not in known and _runs(pod):
                        known.add(pod["metadata"]["uid"])
                        self._thread(f"log-{pod['metadata']['name']}", self._follow, pod["metadata"]["name"])
            except RehearsalError:
                self._closed.wait(AWAY_S)

    def _follow(self, pod: str) -> None:
        """One Pod's log until the Pod is gone."""
        cursor, started = Cursor(), self._restarts(pod)
        while not self._closed.is_set():
            try:
                restarts = self._restarts(pod)
                if restarts is None:
                    return
                if started is not None and restarts > started:
                    self._read(pod, cursor, previous=True)
                    cursor = Cursor(last_ns=cursor.last_ns)
                started = restarts
                self._read(pod, cursor)
            except RequestFailed:
                """The container is being started, or the API server is away."""
            self._closed.wait(AWAY_S)

    def _read(self, pod: str, cursor: Cursor, *, previous: bool = False) -> None:
        cursor.begin()
        since = cursor.since or self._begin
        with self._kube.follow(pod, self._namespace, container=CONTAINER, since=since, previous=previous) as lines:
            with self._lock:
                if self._closed.is_set():
                    return
                self._streams[pod] = lines
            self.connected.set()
            for line in lines:
                parsed = parse_line(line)
                if parsed is not None and cursor.is_new(parsed[0]):
                    self._take(parsed[1], parsed[2])

    def _take(self, text: str, fields: Fields) -> None:
        if not self._wanted(fields):
            return
        with self._lock:
            if self._file.closed:
                return
            if is_traffic(fields):
                self._file.write(f"{text}\n")
                self._file.flush()
        self._listener(fields)

    def _restarts(self, pod: str) -> int | None:
        """How often the container was started again; None once the Pod is gone."""
        found = self._kube.find("v1/Pod", pod, self._namespace)
        if found is None:
            return None
        statuses = found.get("status", {}).get("containerStatuses", [])
        return next((int(each["restartCount"]) for each in statuses if each["name"] == CONTAINER), 0)


def _runs(pod: Object) -> bool:
    statuses = pod.get("status", {}).get("containerStatuses", [])
    return any(each["name"] == CONTAINER and ("running" in each["state"] or each["restartCount"]) for each in statuses)
