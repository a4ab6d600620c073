"""The collector of the prediction log as a process: killed, refused by the disk, asked wrongly."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from harness.backends.embedded.starter import Processes, Running, Starter
from harness.clients.http import client
from harness.components.prediction_log import LOG, prediction_log
from harness.prediction_log import parts, reader
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog
from harness.runtime.supervisor import Supervisor
from harness.runtime.wait import wait

STRUCTURED = {"content-type": "application/cloudevents+json"}
BATCH = {"content-type": "application/cloudevents-batch+json"}
EVENTS = "rehearsal_prediction_log_events_total"
VISITS = 'service="visits"'


class Log:
    """A collector that runs, and the shortest ways to use it."""

    def __init__(self, running: Running, http: httpx.Client) -> None:
        self.running = running
        self.http = http
        self.folder = running.folder / LOG

    def series(self) -> dict[str, float]:
        """Its metrics by name and labels."""
        lines = self.http.get("/metrics").text.splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}

    def read(self) -> reader.Predictions:
        return reader.read(self.folder, "production", "visits", ["x"])


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Log]:
    with collecting(tmp_path) as log:
        yield log


@contextmanager
def collecting(folder: Path) -> Iterator[Log]:
    with closing(EventLog(folder / "events.jsonl")) as events, Supervisor(folder, events) as supervisor:
        starter = Starter(supervisor, events, folder / "components", Processes(supervisor))
        running = starter.start(prediction_log(), Deadline.after(60))
        with client(running.url(), timeout_s=30.0) as http:
            yield Log(running, http)


def event(kind: str, id_: str, **changed: object) -> dict[str, object]:
    data = {"instances": [[int(id_)]]} if kind == "request" else {"predictions": [int(id_) / 1000]}
    return {
        "specversion": "1.0",
        "type": f"org.kubeflow.serving.inference.{kind}",
        "source": "http://visits.production/",
        "id": id_,
        "inferenceservicename": "visits",
        "namespace": "production",
        "revision": "v1",
        "data": data,
        **changed,
    }


def test_kill_9_under_traffic_loses_no_acknowledged_event(started: Log) -> None:
    """Four senders; the collector is killed three times. What was answered with 200 is in the log, once."""
    acknowledged: set[tuple[str, str]] = set()
    ended = threading.Event()

    def send(first: int) -> None:
        number = first
        with client(started.running.url(), timeout_s=5.0) as http:
            while not ended.is_set():
                for kind in ("request", "response"):
                    try:
                        answer = http.post("/", headers=STRUCTURED, content=json.dumps(event(kind, str(number))))
                    except httpx.TransportError:
                        continue
                    if answer.status_code == 200:
                        acknowledged.add((kind, str(number)))
                number += 4

    senders = [threading.Thread(target=send, args=(first,)) for first in range(4)]
    for sender in senders:
        sender.start()
    for _ in range(3):
        least = len(acknowledged) + 200
        wait(lambda least=least: len(acknowledged) >= least, what="events", deadline=Deadline.after(30))  # type: ignore[misc]
        started.running.child.kill()
    least = len(acknowledged) + 200
    wait(lambda: len(acknowledged) >= least, what="events", deadline=Deadline.after(30))
    ended.set()
    for sender in senders:
        sender.join()
    ids = started.read().frame[reader.ID].tolist()

    both = {id_ for kind, id_ in acknowledged if kind == "response" and ("request", id_) in acknowledged}
    assert len(both) >= 350
    assert both <= set(ids)
    assert len(ids) == len(set(ids))
    assert started.running.restarts >= 1


def test_what_a_killed_collector_left_becomes_parquet_when_it_is_back(started: Log) -> None:
    batch = [event(kind, str(number)) for number in range(50) for kind in ("request", "response")]
    assert started.http.post("/", headers=BATCH, content=json.dumps(batch)).json()["accepted"] == 100
    started.running.child.kill()
    wait(lambda: parts.listed(started.folder), what="a part", deadline=Deadline.after(30))

    assert len(started.read().frame) == 50
    wait(lambda: _answers(started), what="the collector", deadline=Deadline.after(30))
    again = started.http.post("/", headers=BATCH, content=json.dumps(batch)).json()
    assert (again["accepted"], again["duplicates"]) == (0, 100)


def test_a_copy_counts_once_and_a_malformed_event_spoils_no_other(started: Log) -> None:
    batch = [event("request", "1"), event("request", "1"), event("request", "2", type="org.other"), 7]
    answer = started.http.post("/", headers=BATCH, content=json.dumps(batch))

    assert answer.status_code == 400
    told = answer.json()
    assert (told["accepted"], told["duplicates"], [each["index"] for each in told["malformed"]]) == (1, 1, [2, 3])
    assert started.http.post("/", content=b"{}").status_code == 400
    assert started.http.post("/", headers=STRUCTURED, content=json.dumps(event("request", "1"))).status_code == 200
    series = started.series()
    assert series[f'{EVENTS}{{namespace="production",outcome="accepted",{VISITS}}}'] == 1
    assert series[f'{EVENTS}{{namespace="production",outcome="duplicate",{VISITS}}}'] == 2
    assert series[f'{EVENTS}{{namespace="",outcome="malformed",service=""}}'] == 3


def test_a_label_of_an_unknown_id_is_told_kept_and_joined_when_the_event_comes(started: Log) -> None:
    started.http.post("/", headers=BATCH, content=json.dumps([event("request", "1"), event("response", "1")]))
    labels = {"namespace": "production", "service": "visits", "labels": [{"id": "1", "label": 1}]}
    assert started.http.post("/labels", json=labels).json() == {"joined": 1, "unknown": 0}

    labels["labels"] = [{"id": "2", "label": 0}]
    answer = started.http.post("/labels", json=labels)
    assert answer.status_code == 202
    assert answer.json()["ids"] == ["2"]
    assert "kept for 30 days and joined if the event still comes" in answer.json()["note"]
    assert (
        started.series()[f'rehearsal_prediction_log_labels_total{{namespace="production",outcome="unknown",{VISITS}}}']
        == 1
    )

    started.http.post("/", headers=BATCH, content=json.dumps([event("request", "2"), event("response", "2")]))
    assert started.read().frame[reader.TARGET].tolist() == [1, 0]


def test_a_flush_answers_when_all_is_parquet(started: Log) -> None:
    started.http.post("/", headers=STRUCTURED, content=json.dumps(event("request", "1")))
    assert started.http.post("/flush").status_code == 200

    assert [parts.events(part.path)["id"].to_pylist() for part in parts.listed(started.folder)] == [["1"]]


def test_what_is_no_request_is_answered_and_ends_its_connection_alone(started: Log) -> None:
    """Nonsense, too long a head and too long a body; another connection is none the worse."""
    large = f"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {2**40}\r\n\r\n"
    for sent, status in ((b"nonsense\r\n\r\n", b"400"), (large.encode(), b"413"), (b"GET /" + b"x" * 90_000, b"413")):
        with socket.create_connection(("127.0.0.1", started.running.ports["http"]), timeout=10) as raw:
            raw.sendall(sent)
            assert raw.recv(4096).split(b" ")[1] == status
    assert started.http.get("/health").status_code == 200
    assert started.http.get("/nowhere").status_code == 404
    assert started.http.put("/").status_code == 405


def test_answers_of_one_connection_come_in_the_order_of_its_requests(started: Log) -> None:
    """An event waits for the disk; what is asked after it must not be answered before it."""
    body = json.dumps(event("request", "1"))
    post = (
        f"POST / HTTP/1.1\r\nhost: x\r\ncontent-type: {STRUCTURED['content-type']}\r\ncontent-length: {len(body)}\r\n"
    )
    with socket.create_connection(("127.0.0.1", started.running.ports["http"]), timeout=10) as raw:
        raw.sendall(f"{post}\r\n{body}GET /nowhere HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        with raw.makefile("rb") as answers:
            text = answers.read()
    assert [line.split()[1] for line in text.splitlines() if line.startswith(b"HTTP")] == [b"200", b"404"]


def test_a_full_disk_is_told_to_the_sender_and_what_was_acknowledged_stays(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: 503 until there is room, and nothing half-written."""
    import resource
    import subprocess

    from harness.runtime import ports

    port, limit = ports.reserve(), 64 * 1024
    argv = [sys.executable, "-P", "-m", "harness.prediction_log.server", "--folder", str(tmp_path), "--port", str(port)]
    limited = subprocess.Popen(argv, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    try:
        with client(f"http://127.0.0.1:{port}", timeout_s=10.0) as http:
            wait(lambda: http.get("/health").status_code == 200, what="ready", deadline=Deadline.after(30))
            kept, number, answer = [], 0, httpx.Response(200)
            while answer.status_code == 200 and number < 1_000:
                body = event("request", str(number), data={"instances": [[number]], "filler": "x" * 2_000})
                answer = http.post("/", headers=STRUCTURED, content=json.dumps(body))
                kept += [str(number)] if answer.status_code == 200 else []
                number += 1
            assert answer.status_code == 503
            assert "the log cannot be written" in answer.json()["error"]
            assert "rehearsal_prediction_log_refused_commits_total 1.0" in http.get("/metrics").text
    finally:
        limited.kill()
        limited.wait()
    from harness.prediction_log.log import PredictionLog

    assert [each.id for each in PredictionLog(tmp_path).replayed] == kept


def _answers(log: Log) -> bool:
    try:
        return log.http.get("/health").status_code == 200
    except httpx.TransportError:
        return False
