"""The collector of the prediction log.

    python -P -m harness.prediction_log.server --folder FOLDER --port PORT [--host HOST] [--roll-s S] [--keep-days D]

POST /  /events/…   CloudEvents of KServe's payload logger: binary, structured or a batch
POST /labels        ground truth by id: {"namespace", "service", "labels": [{"id", "label"}, ...]}
POST /flush         answers when everything acknowledged so far is Parquet
GET  /metrics /health

An answer of 200 or 202 means that the disk has the events: a commit syncs all that came while the one before it was
under way. 4xx: the events were malformed and will never be taken; 503: the disk refused them, send them again.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop

from harness.prediction_log import events as incoming
from harness.prediction_log.events import Event, Malformed
from harness.prediction_log.http import Connection, Request, path_and_query
from harness.prediction_log.log import PredictionLog, compactor
from harness.prediction_log.metrics import Metrics

ROLL_S = 10.0
KEEP_DAYS = 30.0
SHOWN_UNKNOWN = 100


class Server:
    """Takes requests of all connections; one commit a turn of the event loop."""

    def __init__(self, log: PredictionLog, keep_days: float, python: str) -> None:
        self._log = log
        self._keep_days = keep_days
        self.metrics = Metrics(log.replayed)
        self._answers: list[Callable[[], None]] = []
        self._failures: list[Callable[[str], None]] = []
        self._compactor = compactor(log.folder, keep_days, python)
        self._flushing: list[tuple[str, Request]] = []

    def connection(self) -> Connection:
        return Connection(self._handle, self.metrics.malformed)

    def watch(self) -> None:
        """Hear of segments that became Parquet."""
        assert self._compactor.stdout is not None
        asyncio.get_running_loop().add_reader(self._compactor.stdout.fileno(), self._compacted)
        self._seal()  # what an earlier process left is made Parquet now

    def roll_if_due(self, age_s: float) -> None:
        if self._log.due or self._log.age_s >= age_s:
            self._seal()

    def close(self) -> None:
        """Make Parquet of what is there and end the process that does so."""
        assert self._compactor.stdin is not None
        assert self._compactor.stdout is not None
        asyncio.get_running_loop().remove_reader(self._compactor.stdout.fileno())
        self._commit()
        self._seal()
        self._compactor.stdin.close()
        self._compactor.wait()

    def _handle(self, request: Request) -> None:
        path, _ = path_and_query(request.path)
        if request.method == "GET":
            self._get(request, path)
        elif request.method != "POST":
            request.answer(405, {"error": "expected GET or POST"})
        elif path == "/flush":
            self._when_committed(request, lambda: self._flush(request))
        elif path == "/labels":
            self._refusing(request, self._take_labels)
        elif path == "/" or path.startswith("/events"):
            self._refusing(request, self._take_events)
        else:
            request.answer(404, {"error": "expected POST / or /events, /labels, /flush; GET /metrics, /health"})

    def _get(self, request: Request, path: str) -> None:
        if path == "/health":
            request.answer(200, {"status": "ok"})
        elif path == "/metrics":
            request.answer(200, self.metrics.text())
        else:
            request.answer(404, {"error": "expected /metrics or /health"})

    def _refusing(self, request: Request, take: Callable[[Request], None]) -> None:
        try:
            take(request)
        except Malformed as error:
            self.metrics.malformed()
            request.answer(400, {"error": str(error)})

    def _take_events(self, request: Request) -> None:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == incoming.BATCH:
            self._take_batch(request)
            return
        now = time.time()
        if kind == incoming.STRUCTURED:
            event = incoming.structured(request.body, now)
        else:
            event = incoming.binary(request.headers, request.body, now)
        self._offer(event)
        self._when_committed(request, lambda: request.answer(200))

    def _take_batch(self, request: Request) -> None:
        """Each event for itself: the good ones are taken and the answer says which are not."""
        accepted, wrong, now = 0, [], time.time()
        given = incoming.batch(request.body)
        for index, each in enumerate(given):
            try:
                accepted += self._offer(incoming.from_object(each, now))
            except Malformed as error:
                self.metrics.malformed()
                wrong.append({"index": index, "error": str(error)})
        told = {"accepted": accepted, "duplicates": len(given) - accepted - len(wrong), "malformed": wrong}
        self._when_committed(request, lambda: request.answer(400 if wrong else 200, told))

    def _take_labels(self, request: Request) -> None:
        given = incoming.labels(request.body, time.time())
        unknown = [label.id for label in given if not self._log.knows(label)]
        for label in given:
            self._log.offer(label.event())
        self.metrics.labels(given[0].namespace, given[0].service, len(given) - len(unknown), len(unknown))
        told: dict[str, Any] = {"joined": len(given) - len(unknown), "unknown": len(unknown)}
        if unknown:
            told["ids"] = unknown[:SHOWN_UNKNOWN]
            told["note"] = (
                f"no event of these ids was seen; their labels are kept for {self._keep_days:g} days "
                "and joined if the event still comes"
            )
        self._when_committed(request, lambda: request.answer(202 if unknown else 200, told))

    def _offer(self, event: Event) -> bool:
        taken = self._log.offer(event)
        if not taken:
            self.metrics.duplicate(event)
        return taken

    def _when_committed(self, request: Request, then: Callable[[], None]) -> None:
        if not self._answers:
            asyncio.get_running_loop().call_soon(self._commit)
        self._answers.append(then)
        self._failures.append(lambda reason: request.answer(503, {"error": reason}))

    def _commit(self) -> None:
        answers, failures = self._answers, self._failures
        self._answers, self._failures = [], []
        began = time.perf_counter()
        try:
            kept = self._log.commit()
        except OSError as error:
            self.metrics.refused()
            for fail in failures:
                fail(f"the log cannot be written: {error}; send the events again")
            return
        self.metrics.committed(kept, time.perf_counter() - began)
        for answer in answers:
            answer()
        if self._log.due:
            self._seal()

    def _flush(self, request: Request) -> None:
        self._flushing.append((self._seal(), request))

    def _seal(self) -> str:
        sealed = self._log.roll()
        assert self._compactor.stdin is not None
        self._compactor.stdin.write(f"{sealed}\n")
        self._compactor.stdin.flush()
        return sealed.name

    def _compacted(self) -> None:
        assert self._compactor.stdout is not None
        line = self._compactor.stdout.readline()
        if not line:  # it died; whoever watches this server starts both again
            raise SystemExit(1)
        done, self._flushing = self._flushing, []
        for name, request in done:
            if name <= line.rstrip("\n"):
                request.answer(200, {"segment": name})
            else:
                self._flushing.append((name, request))


async def serve(folder: Path, host: str, port: int, roll_s: float, keep_days: float) -> None:
    """Collect until SIGTERM."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    server = Server(PredictionLog(folder), keep_days, sys.executable)
    server.watch()
    listening = await loop.create_server(server.connection, host, port, backlog=1024)
    async with listening:
        while not ended.is_set():
            try:
                await asyncio.wait_for(ended.wait(), min(1.0, roll_s))
            except TimeoutError:
                server.roll_if_due(roll_s)
    server.close()


def main(argv: list[str]) -> None:
    flags = argparse.ArgumentParser(prog="rehearsal-prediction-log")
    flags.add_argument("--folder", type=Path, required=True)
    flags.add_argument("--port", type=int, required=True)
    flags.add_argument("--host", default="127.0.0.1")
    flags.add_argument("--roll-s", type=float, default=ROLL_S)
    flags.add_argument("--keep-days", type=float, default=KEEP_DAYS)
    given = flags.parse_args(argv)
    uvloop.run(serve(given.folder, given.host, given.port, given.roll_s, given.keep_days))


if __name__ == "__main__":
    main(sys.argv[1:])
