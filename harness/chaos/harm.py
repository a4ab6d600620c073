"""The requests of a load that went wrong, from its ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.chaos.invariants import Harmed

if TYPE_CHECKING:
    from harness.load.ledger import Ledger

COLUMNS = ["class", "status", "revision", "intended_s", "schedule_delay_ms", "latency_ms"]
ANSWERED, GAVE_UP = "answered:", "gave up:"
HELD_BACK = "never sent:too many in flight"  # by the generator itself: nothing was asked of the service


def harmed(ledger: Ledger) -> list[Harmed]:
    """Every request that no revision answered, or that one answered with an error."""
    import pyarrow.parquet as pq

    rows = pq.read_table(ledger.path, columns=COLUMNS).to_pylist()
    found = []
    for row in rows:
        answered = row["class"].startswith(ANSWERED)
        if (answered and row["status"] < 400) or row["class"] == HELD_BACK:
            continue
        intended_at = ledger.started_at + row["intended_s"]
        what = f"{row['class']} with {row['status']}" if answered else row["class"]
        revision = row["class"].split(":")[1] if row["class"].startswith(GAVE_UP) else row["revision"] or ""
        found.append(
            Harmed(
                sent_at=intended_at + row["schedule_delay_ms"] / 1e3,
                ended_at=intended_at + row["latency_ms"] / 1e3,
                found=what,
                revision=revision,
            )
        )
    return found
