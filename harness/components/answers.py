"""What two revisions answer, collected from their payload loggers while requests flow.

A loopback HTTP server in the platform's own process takes the CloudEvents of responses. It keeps counts, not payloads:
its memory does not grow with the number of requests.
"""

from __future__ import annotations

import json
import math
import threading
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler
from itertools import accumulate
from typing import Self

from harness.components._json_server import JsonHandler, JsonServer
from harness.components.component import LOOPBACK
from harness.lifecycle.answers import Answers

FIRST = 200
"""So many predictions of the baseline fix the cuts; they are not counted, or the cuts would depend on the counts."""
WAITING = 10_000
"""So many answers wait for the other revision's answer to the same request; then the oldest is given up."""
MAX_BODY_BYTES = 16 * 1024 * 1024
RESPONSE = "org.kubeflow.serving.inference.response"


class Tally:
    """Counts of both revisions' predictions at fixed cuts, and of mirrored copies that agree; thread-safe.

    Without `cuts` they are the deciles of the baseline's first predictions.
    """

    def __init__(self, baseline: str, canary: str, tolerance: float, cuts: Sequence[float] = ()) -> None:
        self._baseline = baseline
        self._canary = canary
        self._tolerance = tolerance
        self._first: list[float] = []
        self._cuts = tuple(sorted(set(cuts)))
        self._buckets = self._empty()
        self._waiting: OrderedDict[str, tuple[str, Sequence[float]]] = OrderedDict()
        self._compared = self._agreed = 0
        self._lock = threading.Lock()

    def take(self, revision: str, request_id: str, predictions: Sequence[float]) -> None:
        """Count one answer; one of another revision than the two is none of ours."""
        if revision not in (self._baseline, self._canary):
            return
        with self._lock:
            self._compare(revision, request_id, predictions)
            if self._cuts:
                for prediction in predictions:
                    self._buckets[revision][_bucket(self._cuts, prediction)] += 1
            elif revision == self._baseline:
                self._fix_cuts(predictions)

    def answers(self) -> Answers:
        """The totals so far; without cuts until enough of the baseline's predictions were seen."""
        with self._lock:
            compared, agreed = self._compared, self._agreed
            if not self._cuts:
                return Answers(compared=compared, agreed=agreed)
            mine, yours = (tuple(accumulate(self._buckets[name])) for name in (self._baseline, self._canary))
        return Answers(self._cuts, mine[:-1], yours[:-1], mine[-1], yours[-1], compared, agreed)

    def _fix_cuts(self, predictions: Sequence[float]) -> None:
        self._first += [prediction for prediction in predictions if math.isfinite(prediction)]
        if len(self._first) < FIRST:
            return
        ranked = sorted(self._first)
        self._cuts = tuple(sorted({ranked[len(ranked) * tenth // 10 - 1] for tenth in range(1, 10)}))
        self._buckets = self._empty()
        self._first = []

    def _empty(self) -> dict[str, list[int]]:
        return {name: [0] * (len(self._cuts) + 1) for name in (self._baseline, self._canary)}

    def _compare(self, revision: str, request_id: str, predictions: Sequence[float]) -> None:
        other, theirs = self._waiting.get(request_id, (revision, ()))
        if other == revision:
            self._waiting[request_id] = revision, predictions
            if len(self._waiting) > WAITING:
                self._waiting.popitem(last=False)
            return
        del self._waiting[request_id]
        self._compared += 1
        self._agreed += agree(predictions, theirs, self._tolerance)


class AnswerCollector:
    """Takes CloudEvents of responses at `url`; a context manager."""

    def __init__(self, *, baseline: str, canary: str, tolerance: float, cuts: Sequence[float] = ()) -> None:
        self._tally = Tally(baseline, canary, tolerance, cuts)
        self._server = _Server(self._tally)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="answers", daemon=True)
        self._thread.start()
        self.url = f"http://{LOOPBACK}:{self._server.server_port}/"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def answers(self) -> Answers:
        """The totals so far."""
        return self._tally.answers()

    def close(self) -> None:
        """Take no more events; the totals stay. Safe to call twice."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()


class _Server(JsonServer):
    def __init__(self, tally: Tally) -> None:
        super().__init__((LOOPBACK, 0), _Receiver)
        self.tally = tally


class _Receiver(JsonHandler, BaseHTTPRequestHandler):
    server: _Server

    def do_POST(self) -> None:
        length = self.length()
        if length is None or length > MAX_BODY_BYTES:
            self.close_connection = True
            self.answer(400)
            return
        body = self.rfile.read(length)
        if self.headers.get("ce-type") == RESPONSE and (found := predictions_of(body)):
            self.server.tally.take(self.headers.get("ce-revision", ""), self.headers.get("ce-id", ""), found)
        self.answer(200)


def predictions_of(body: bytes | str) -> list[float]:
    """The predictions of a V1 or V2 response; none if it is an error or something else. A null is not a number."""
    try:
        told = json.loads(body)
        values = told["predictions"] if "predictions" in told else told["outputs"][0]["data"]
        return [math.nan if value is None else float(value) for value in values]
    except (ValueError, TypeError, LookupError):
        return []


def agree(one: Sequence[float], other: Sequence[float], tolerance: float) -> bool:
    """Whether two answers have the same length and no value differs by more than the tolerance."""
    return len(one) == len(other) and all(
        abs(x - y) <= tolerance or x == y or (math.isnan(x) and math.isnan(y)) for x, y in zip(one, other, strict=True)
    )


def _bucket(cuts: Sequence[float], prediction: float) -> int:
    """The index of the first cut that the prediction is at or below; what is not a number is below none."""
    return len(cuts) if math.isnan(prediction) else bisect_left(cuts, prediction)
