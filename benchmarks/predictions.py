"""The prediction log's collector on one core, and a window judged: what both promise on speed."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from harness.clients.http import client
from harness.runtime import ports
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait

RATE = 5_000
SECONDS = 10
TIMES = 3
CONNECTIONS = 16
BATCH = 100
BATCHES = 500
WINDOW, REFERENCE = 5_000, 16_000


def measure(folder: Path) -> Iterator[tuple[str, str, str, list[float]]]:
    """Events one a request at a fixed rate, timed from the intended send; batches as fast as they go; a window."""
    took: list[list[float]] = []
    with _collector(folder) as port:
        for number in range(TIMES):
            sender = _Sender(number * RATE * SECONDS)
            asyncio.run(sender.offer(port))
            took.append(sorted(sender.took))
        yield (
            "collector on one core: events/s offered and acknowledged", "1/s", ">= 5000",
            [len(each) / SECONDS for each in took],
        )  # fmt: skip
        for share in (0.5, 0.99):
            samples = [1000 * each[int(len(each) * share)] for each in took]
            yield f"time to acknowledge, p{100 * share:g}", "ms", "<= 5" if share > 0.5 else "-", samples
        yield f"events/s in batches of {BATCH}", "1/s", "-", [_batches(port)]
    yield from _windows()


class _Sender:
    """An open loop: what is late counts from when it should have been sent."""

    def __init__(self, first: int) -> None:
        self._first = first
        self.took: list[float] = []

    async def offer(self, port: int) -> None:
        loop = asyncio.get_running_loop()
        made = [await loop.create_connection(lambda: _Client(self.took), "127.0.0.1", port) for _ in range(CONNECTIONS)]
        clients = [one for _, one in made]
        began, sent, total = time.perf_counter(), 0, RATE * SECONDS
        while sent < total:
            due = min(total, int((time.perf_counter() - began) * RATE))
            for number in range(sent, due):
                clients[number % CONNECTIONS].send(_post(self._first + number), began + number / RATE)
            sent = due
            await asyncio.sleep(0.0005)
        while len(self.took) < total:
            await asyncio.sleep(0.01)
        for transport, _ in made:
            transport.close()


class _Client(asyncio.Protocol):
    def __init__(self, took: list[float]) -> None:
        self._took = took
        self._intended: deque[float] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes, intended: float) -> None:
        self._intended.append(intended)
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        for _ in range(data.count(b"HTTP/1.1 200")):
            self._took.append(now - self._intended.popleft())


def _event(number: int) -> dict[str, Any]:
    """Requests of twelve features and their responses, in turn."""
    asked = number % 2 == 0
    return {
        "specversion": "1.0",
        "type": f"org.kubeflow.serving.inference.{'request' if asked else 'response'}",
        "source": "http://visits.production/",
        "id": f"{number // 2:032x}",
        "inferenceservicename": "visits",
        "namespace": "production",
        "revision": "v1",
        "data": {"instances": [[0.1 * each for each in range(12)]]} if asked else {"predictions": [0.123456]},
    }


def _post(number: int) -> bytes:
    event = _event(number)
    body = json.dumps(event.pop("data"))
    head = "".join(f"ce-{name}: {value}\r\n" for name, value in event.items())
    return f"POST / HTTP/1.1\r\nhost: log\r\n{head}content-length: {len(body)}\r\n\r\n{body}".encode()


def _batches(port: int) -> float:
    first = 10 * RATE * SECONDS
    bodies = [json.dumps([_event(first + number * BATCH + each) for each in range(BATCH)]) for number in range(BATCHES)]
    headers = {"content-type": "application/cloudevents-batch+json"}
    with client(f"http://127.0.0.1:{port}", headers=headers) as http:
        began = time.perf_counter()
        for body in bodies:
            http.post("/", content=body).raise_for_status()
        return BATCH * BATCHES / (time.perf_counter() - began)


@contextmanager
def _collector(folder: Path) -> Iterator[int]:
    """The collector with its compactor on one core; this process has the others."""
    port, cores = ports.reserve(), sorted(os.sched_getaffinity(0))
    argv = [sys.executable, "-P", "-m", "harness.prediction_log.server", "--folder", str(folder), "--port", str(port)]
    os.sched_setaffinity(0, cores[:1])
    child = subprocess.Popen(argv)
    os.sched_setaffinity(0, cores[1:] or cores)
    try:
        with client(f"http://127.0.0.1:{port}") as http:
            wait(lambda: http.get("/health").status_code == 200, what="collector", deadline=Deadline.after(30))
        yield port
    finally:
        child.terminate()
        child.wait()
        os.sched_setaffinity(0, cores)


def _windows() -> Iterator[tuple[str, str, str, list[float]]]:
    """5,000 rows of 12 columns, with pairs of columns; the first is not counted, as it imports."""
    import numpy as np

    from harness.drift_bench.population import draw, labelled
    from harness.lifecycle.calibration import Rate, calibrate
    from harness.lifecycle.drift import LABEL, judge

    rng = np.random.default_rng(1)
    reference = labelled(rng, draw(rng, REFERENCE)).drop(columns=LABEL)
    began = time.perf_counter()
    found = calibrate(reference, Rate(), rows=400)
    calibrated = time.perf_counter() - began
    samples = []
    for _ in range(6):
        window = labelled(rng, draw(rng, WINDOW)).drop(columns=LABEL)
        began = time.perf_counter()
        judge(reference, window, window_name="benchmark", calibration=found)
        samples.append(time.perf_counter() - began)
    yield "a window of 5,000 rows and 12 columns judged", "s", "<= 1", samples[1:]
    yield f"thresholds calibrated, {found.draws:,} resamples", "s", "-", [calibrated]
