"""What one load of a run showed, request by request, cut into batches of time."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UsageError
from harness.report.record import LoadRecord, RunRecord

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_BATCH_S = 0.5
MOST_BATCHES = 60
LEAST_BATCHES = 10

Key = tuple[str, int]  # a load's name, and which of that name it is in its run


@dataclass(frozen=True)
class Sample:
    """One load, by batch: how many requests were due, how many of them failed, the latencies in ms of the answered.

    Latencies count from the intended send. `distrust` says why they cannot be trusted, if so.
    """

    name: str
    offered_rps: float
    requests: NDArray[Any]
    failed: NDArray[Any]
    latencies_ms: list[NDArray[Any]] = field(repr=False)
    distrust: str = ""

    @property
    def short(self) -> str:
        """Why its spread over time is not known; empty if it is."""
        found = len(self.requests)
        enough = f"{LEAST_BATCHES * LEAST_BATCH_S:g} s are needed to tell chance from change"
        return "" if found >= LEAST_BATCHES else f"the load was too short: {enough}"


def probes(record: RunRecord) -> set[str]:
    """The loads of capacity searches: their rates and numbers are the search's own, so no other run has their like."""
    return {step.load for search in record.capacity for step in search.steps}


def samples(record: RunRecord, folder: Path) -> dict[Key, Sample]:
    """Every load of a run but a search's probes. UsageError: a ledger is not in the folder, or is not one."""
    found: dict[Key, Sample] = {}
    searched = probes(record)
    for load in record.loads:
        if load.name in searched:
            continue
        if load.sent:
            same = sum(name == load.name for name, _ in found)
            found[load.name, same] = sample(load, folder)
    return found


def sample(load: LoadRecord, folder: Path) -> Sample:
    """One load, from its ledger. UsageError: it is missing, or damaged."""
    due, latency, status = _columns(folder / load.ledger)
    return of_requests(load.name, due, latency, status, load.distrust)


def of_requests(
    name: str, due_s: NDArray[Any], latency_ms: NDArray[Any], status: NDArray[Any], distrust: str = ""
) -> Sample:
    """A load from its requests; a status of 0 is no answer."""
    import numpy as np

    lasted = float(due_s.max() - due_s.min()) or LEAST_BATCH_S
    batches = max(1, min(MOST_BATCHES, int(lasted / LEAST_BATCH_S)))
    batch = np.minimum(((due_s - due_s.min()) / lasted * batches).astype(int), batches - 1)
    order = np.argsort(batch, kind="stable")
    ends = np.searchsorted(batch[order], np.arange(1, batches))
    answered = [latency[state > 0] for latency, state in zip(
        np.split(latency_ms[order], ends), np.split(status[order], ends), strict=True)]  # fmt: skip
    failed = (status == 0) | (status >= 400)
    return Sample(
        name=name,
        offered_rps=len(due_s) / lasted,
        requests=np.bincount(batch, minlength=batches),
        failed=np.bincount(batch, weights=failed, minlength=batches).astype(int),
        latencies_ms=answered,
        distrust=distrust,
    )


def _columns(path: Path) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path, columns=["intended_s", "latency_ms", "status"])
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist.", hint="A comparison needs every request; keep the ledger.") from None
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"{path} is not a ledger: {str(error).splitlines()[0]}") from error
    if not rows.num_rows:
        raise UsageError(f"{path} has no requests.")
    due, latency, status = (rows.column(name).to_numpy() for name in ("intended_s", "latency_ms", "status"))
    return due, latency, status
