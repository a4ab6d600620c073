"""The ledger: where every request of a load went, as a scenario reads it; harness.load.join has the classes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from harness.errors import LoadFailed
from harness.load.arrivals import Arrivals
from harness.load.join import ANSWERED
from harness.report.record import GuardVerdict, LatencySummary, LoadRecord, LoadTimeline, ShapeRecord


@dataclass(frozen=True)
class Ledger:
    """Where every request of a load went. `classes` add up to `sent`; times are Unix seconds and milliseconds.

    `unexplained` also counts entries of the gateway for requests that the client does not know. `unlogged` are answers
    that only the client knows of, because the gateway died before it had written its line. Latencies count from the
    intended send; `distrust` says why they cannot be trusted, `latency_verdict` is None then, or without an SLO.
    `joined`: whether the gateway's log was at hand; without it the classes are the client's word.
    """

    name: str
    target_rps: float
    shape: ShapeRecord
    sent: int
    classes: dict[str, int]
    unexplained: int
    examples: tuple[str, ...]
    latency: tuple[LatencySummary, ...]
    overall: LatencySummary
    timeline: LoadTimeline
    started_at: float
    duration_s: float
    achieved_rps: float
    schedule_delay_p50_ms: float
    schedule_delay_p99_ms: float
    path: Path
    arrivals: Arrivals = "constant"
    processes: int = 1
    workers: int = 0
    users: int = 0
    retried: int = 0
    mirrored: int = 0
    unlogged: int = 0
    generator_cpu: float = 0.0
    distrust: str = ""
    latency_verdict: GuardVerdict | None = None
    errors_verdict: GuardVerdict | None = None
    joined: bool = True

    def answered(self, revision: str) -> int:
        """Requests that this revision answered."""
        return self.classes.get(f"{ANSWERED}{revision}", 0)

    @property
    def lost(self) -> int:
        """Requests that no revision answered."""
        return self.sent - sum(count for name, count in self.classes.items() if name.startswith(ANSWERED))

    def check(self) -> None:
        """Raises LoadFailed, with examples, if a request is unexplained."""
        if self.unexplained:
            raise LoadFailed(
                f"load {self.name}: {self.unexplained} of {self.sent} requests are unexplained: "
                + "; ".join(self.examples[:3]),
                hint=f"the ledger lists them: {self.path}",
            )

    def record(self, service: str, folder: Path, reproduce: str = "") -> LoadRecord:
        """The load's entry in the run record; `folder` is the run's, `reproduce` the command that offers it again."""
        same = {each.name for each in fields(self)} & LoadRecord.model_fields.keys()
        inside = self.path.is_relative_to(folder)
        return LoadRecord.model_validate(
            {
                **{name: getattr(self, name) for name in same},
                "service": service,
                "reproduce": reproduce,
                "ledger": str(self.path.relative_to(folder) if inside else self.path),
            }
        )
