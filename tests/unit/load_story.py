"""A load's files as its processes leave them, written by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.lifecycle.slo import SLO
from harness.load import Ledger, LoadSpec
from harness.load.access_log import AccessLogTail
from harness.load.account import account
from harness.load.records import Failure, LoadFiles, Recorder, write_json
from harness.load.shapes import Steady

STARTED_AT = 1_000_000.0


@dataclass
class Story:
    """A load's files as its processes leave them: `sent` and `log` write, `ledger` accounts."""

    folder: Path
    shares: int = 1
    users: int = 0

    def __post_init__(self) -> None:
        self.files = LoadFiles(self.folder / "load")
        self.files.folder.mkdir()
        self.access_log = self.folder / "access.jsonl"
        self.access_log.touch()
        self.payload = self.folder / "payload.jsonl"
        self.payload.write_text("{}\n")
        self.tail = AccessLogTail(self.access_log, "aa", self.files, 10_000)
        self.recorders = [Recorder(self.files, share, self.shares) for share in range(self.shares)]
        self.scheduled = [0] * self.shares

    def sent(
        self,
        sequence: int,
        status: int = 200,
        revision: str = "v1",
        error: Failure = Failure.NONE,
        *,
        ms: float = 1.5,
        at_ms: int | None = None,
    ) -> None:
        """One request, sent 0.1 ms late; due at `at_ms`, or else at a thousand a second."""
        due = 1000 * (sequence if at_ms is None else at_ms)
        share = sequence % self.shares
        self.scheduled[share] = max(self.scheduled[share], sequence // self.shares + 1)
        self.recorders[share].write(sequence, due, due + 100, int(ms * 1000), status, revision, error)

    def log(self, request_id: str | None, **changed: Any) -> None:
        with self.access_log.open("a") as file:
            file.write(line(request_id, **changed))

    def ledger(self, deaths: tuple[float, ...] = (), slo: SLO | None = None) -> Ledger:
        self.tail.read()
        for recorder in self.recorders:
            recorder.flush()
        write_json(self.files.go, {"origin": 0.0, "started_at": STARTED_AT})
        for share, requests in enumerate(self.scheduled):
            told = {"requests": requests, "left": requests, "duration_s": 1.0, "cpu": 0.1}
            write_json(self.files.finished(share), told)
        spec = LoadSpec(
            "test", "http://x", "h", "/v1", self.payload, Steady(100),
            processes=self.shares, users=self.users, arrivals="poisson",
        )  # fmt: skip
        found = account(spec, self.files, self.tail, self.folder / "ledger.parquet", deaths, slo)
        assert sum(found.classes.values()) == found.sent
        return found

    def rows(self) -> dict[str, list[Any]]:
        import pyarrow.parquet as pq

        return dict(pq.read_table(self.folder / "ledger.parquet").to_pydict())

    def close(self) -> None:
        self.tail.close()
        for recorder in self.recorders:
            recorder.close()


def line(request_id: str | None, **changed: Any) -> str:
    entry = {"id": request_id, "code": 200, "flags": "-", "revision": "v1", "cluster": "c", "ms": 2, "attempts": 1}
    return json.dumps({**entry, **changed}) + "\n"
