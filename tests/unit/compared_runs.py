"""Runs with one load each, whose ledger has every request; seeded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from harness.report.record import RunRecord
from harness.report.store import write_record
from tests.unit import sample_record


def requests(
    seed: int, *, slower: float = 1.0, failing: float = 0.0, rps: float = 200.0, seconds: float = 30.0
) -> pa.Table:
    """Evenly spaced requests, with latencies of a log-normal distribution around 4 ms."""
    chance = np.random.default_rng(seed)
    count = int(rps * seconds)
    status = np.where(chance.random(count) < failing, 503, 200).astype(np.int16)
    latency = 4.0 * slower * np.exp(chance.normal(0, 0.4, count))
    return pa.table({"intended_s": np.arange(count) / rps, "latency_ms": latency, "status": status})


def written(home: Path, name: str, rows: pa.Table, *, load: str = "steady", distrust: str = "") -> Path:
    """The run's folder, with run.json and its ledger."""
    record = of(rows, load=load, distrust=distrust).model_copy(update={"run_id": name})
    write_record(record, home / name)
    pq.write_table(rows, home / name / "ledger.parquet")
    return home / name


def of(rows: pa.Table, *, load: str = "steady", distrust: str = "") -> RunRecord:
    record = sample_record.passed()
    classes = {"answered:v1": rows.num_rows}
    told = {"name": load, "distrust": distrust, "sent": rows.num_rows, "classes": classes}
    record.loads = [record.loads[0].model_copy(update=told)]
    return record
