"""Accounts for a made-up load of so many requests in a process of its own, so that its peak memory can be read.

`python -m benchmarks._accounting FOLDER REQUESTS` prints {"join_s", "report_s", "cpu_s", "peak_mb", "idle_mb",
"run_mb", "page_mb"}: to join, count and summarise all of them; to write the record and its pages; both by CPU.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet

from harness.load.access_log import ENTRY_FIELDS, AccessLogTail
from harness.load.account import account
from harness.load.records import RECORD_FIELDS, LoadFiles, write_json
from harness.load.shapes import Steady
from harness.load.spec import LoadSpec
from harness.report.load import write_load
from harness.report.record import RunRecord
from harness.report.render import render
from harness.report.store import write_record

RPS = 1000
PIECE = 100_000


def made_up(folder: Path, requests: int) -> tuple[LoadSpec, LoadFiles, AccessLogTail]:
    """The files of a load of 1,000 requests a second on two revisions, as if it had just ended."""
    files, payload = LoadFiles(folder), folder / "payload.jsonl"
    payload.write_text("{}\n", encoding="utf-8")
    log = AccessLogTail(folder / "access.jsonl", "bench", files, 2 * requests)
    numbers = [log.revisions.number(name) for name in ("v1", "v2")]
    files.revisions(0).write_text("v1\nv2\n", encoding="utf-8")
    random = np.random.default_rng(7)
    with files.records(0).open("wb") as records, files.entries.open("wb") as entries:
        for first in range(0, requests, PIECE):
            sequence = np.arange(first, min(first + PIECE, requests))
            sent = np.zeros(len(sequence), list(RECORD_FIELDS))
            sent["mark"], sent["status"] = sequence + 1, 200
            sent["revision"] = 1 + sequence % 2
            sent["intended_us"] = sequence * 1_000_000 // RPS
            sent["sent_us"] = sent["intended_us"] + random.exponential(100, len(sequence)).astype(np.int64)
            sent["latency_us"] = random.lognormal(8, 1, len(sequence)).astype(np.int64)
            sent.tofile(records)
            logged = np.zeros(len(sequence), list(ENTRY_FIELDS))
            logged["mark"], logged["code"], logged["attempts"] = 1, 200, 1
            logged["revision"] = np.array(numbers)[sequence % 2]
            logged.tofile(entries)
    write_json(files.go, {"origin": 0.0, "started_at": 1.7e9})
    told = {"requests": requests, "left": requests, "duration_s": requests / RPS, "cpu": 0.2}
    write_json(files.finished(0), told)
    return LoadSpec("bench", "http://127.0.0.1", "m", "/v1", payload, Steady(RPS)), files, log


def main() -> None:
    folder, requests = Path(sys.argv[1]), int(sys.argv[2])
    folder.mkdir(parents=True)
    spec, files, log = made_up(folder, requests)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew: a process is born with its parent's
    idle_mb = _peak_mb()
    began, busy = time.monotonic(), time.process_time()
    ledger = account(spec, files, log, folder / "ledger.parquet")
    join_s = time.monotonic() - began
    log.close()
    run = RunRecord(run_id="bench", title="A load", backend="embedded", command="bench", started_at=1.7e9)
    run.loads.append(ledger.record("production/model", folder))
    written = write_record(run, folder)
    render(run, folder)
    write_load(run, folder)
    write_load(run, folder)
    report_s, cpu_s = time.monotonic() - began - join_s, time.process_time() - busy
    pages = [page.stat().st_size for page in folder.glob("*.html")]
    sizes = {"run_mb": written.stat().st_size / 2**20, "page_mb": max(pages) / 2**20}
    assert (ledger.sent, ledger.unexplained) == (requests, 0)
    assert pyarrow.parquet.read_metadata(ledger.path).num_rows == requests
    told = {"join_s": join_s, "report_s": report_s, "cpu_s": cpu_s, "peak_mb": _peak_mb(), "idle_mb": idle_mb}
    print(json.dumps({**told, **sizes}))


def _peak_mb() -> float:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
