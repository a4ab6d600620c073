"""The ledger as a Parquet file: one row a request, one row group a block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.load.arrivals import user_of
from harness.load.blocks import Block
from harness.load.join import Joined
from harness.load.records import Failure


def columns(known: Block, joined: Joined, names: list[str], flags: list[str], users: int) -> dict[str, Any]:
    """The ledger's columns: one row a request; a cell is null where that side has nothing."""
    import pyarrow as pa

    records, entries, copies = known.records, known.entries, known.copies
    logged, copied = entries["mark"] == 0, copies["mark"] == 0

    def words(numbers: Any, of: list[str], null: Any = None) -> Any:
        return pa.DictionaryArray.from_arrays(pa.array(numbers.astype("int32"), mask=null), pa.array(of, pa.string()))

    def cells(values: Any, null: Any) -> Any:
        return pa.array(values, mask=null)

    return {
        "sequence": known.sequences,
        "class": words(joined.classes, joined.class_names),
        "why": words(joined.whys, joined.why_names),
        "status": records["status"],
        "revision": words(records["revision"], names),
        "error": words(records["error"], [failure.name.lower() for failure in Failure]),
        "user": pa.array(user_of(known.sequences, users)) if users else pa.nulls(len(records), pa.int64()),
        "intended_s": records["intended_us"] / 1e6,
        "schedule_delay_ms": (records["sent_us"] - records["intended_us"]) / 1e3,
        "latency_ms": records["latency_us"] / 1e3,
        "gateway_code": cells(entries["code"], logged),
        "gateway_flags": words(entries["flags"], flags, logged),
        "gateway_ms": cells(entries["ms"], logged),
        "gateway_attempts": cells(entries["attempts"], logged),
        "copy_code": cells(copies["code"], copied),
        "copy_flags": words(copies["flags"], flags, copied),
        "copy_ms": cells(copies["ms"], copied),
    }


@contextmanager
def table(path: Path) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yields a function that appends columns as a row group; the file appears when all are written."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    half = path.with_suffix(".part")
    writers: list[Any] = []

    def write(columns: dict[str, Any]) -> None:
        rows = pa.table(columns)
        if not writers:
            writers.append(pq.ParquetWriter(half, rows.schema))
        writers[0].write_table(rows)

    try:
        yield write
    finally:
        for writer in writers:
            writer.close()
    if writers:
        half.rename(path)
