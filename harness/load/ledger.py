"""The ledger: the generator's records joined with the gateway's access log, every request in exactly one class.

answered:<revision>            the revision that both the client and the gateway name answered, with whatever status
refused:<flag>                 the gateway answered by itself; <flag> is Envoy's response flag, or else the status
gave up:<revision>:<what>      the client stopped waiting; <what> the gateway saw: its flag, or the status it got
never sent:<why>               nothing left the client
unexplained                    the two sides do not fit; `examples` says how
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import LoadFailed
from harness.load.access_log import GatewayEntry
from harness.load.records import NEVER_SENT, Failure
from harness.report.record import LatencySummary, LoadRecord

EXAMPLES = 20
INFORMS = {"DI"}  # flags that Envoy sets on answers that are not its own: a delay was injected
UNEXPLAINED = "unexplained"
ANSWERED = "answered:"


class Sent(NamedTuple):
    """One request as the client saw it; times in microseconds since the load began, latency from the intended send."""

    sequence: int
    status: int
    revision: str
    error: Failure
    intended_us: int
    sent_us: int
    latency_us: int

    @property
    def failed(self) -> bool:
        """Without an answer, or with a status of 400 or above: the load sends nothing that may be refused."""
        return self.status == 0 or self.status >= 400


@dataclass(frozen=True)
class Ledger:
    """Where every request of a load went. `classes` add up to `sent`; times are Unix seconds and milliseconds.

    `unexplained` also counts entries of the gateway for requests that the client does not know.
    `schedule_delay_p99_ms` is how late the generator itself was; latencies include it.
    """

    name: str
    sent: int
    classes: dict[str, int]
    unexplained: int
    examples: tuple[str, ...]
    latency: tuple[LatencySummary, ...]
    series: tuple[dict[str, float | str], ...]
    started_at: float
    duration_s: float
    achieved_rps: float
    schedule_delay_p50_ms: float
    schedule_delay_p99_ms: float
    path: Path

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

    def record(self, service: str, target_rps: float, folder: Path) -> LoadRecord:
        """The load's entry in the run record; `folder` is the run's."""
        inside = self.path.is_relative_to(folder)
        return LoadRecord(
            name=self.name,
            service=service,
            target_rps=target_rps,
            achieved_rps=self.achieved_rps,
            started_at=self.started_at,
            duration_s=self.duration_s,
            sent=self.sent,
            classes=self.classes,
            unexplained=self.unexplained,
            latency=list(self.latency),
            series=list(self.series),
            ledger=str(self.path.relative_to(folder) if inside else self.path),
        )


@dataclass(frozen=True)
class Join:
    """The class of each request, in the order of the records, and what does not fit."""

    classes: list[str]
    unexplained: int
    examples: tuple[str, ...]

    def counts(self) -> dict[str, int]:
        """Class -> requests, the most frequent first."""
        return dict(Counter(self.classes).most_common())


def join(sent: Sequence[Sent], scheduled: int, gateway: Mapping[int, Sequence[GatewayEntry]]) -> Join:
    """Classify every request; `scheduled` is how many the generator says it started, `gateway` is by sequence."""
    classes: list[str] = []
    odd: list[str] = []
    for request in sent:
        found, why = classify(request, gateway.get(request.sequence, ()))
        classes.append(found)
        if why:
            odd.append(f"request {request.sequence}: {why}")
    known = {request.sequence for request in sent}
    odd += [f"request {number}: the client lost its record of it" for number in range(scheduled) if number not in known]
    odd += [
        f"request {number}: the gateway saw it, the client does not know it"
        for number in sorted(gateway.keys() - known)
        if number >= scheduled
    ]
    return Join(classes, len(odd), tuple(odd[:EXAMPLES]))


def classify(request: Sent, entries: Sequence[GatewayEntry]) -> tuple[str, str]:
    """The class of one request, and why it is unexplained; of the gateway's `entries` the last one counts."""
    if request.error in NEVER_SENT:
        if entries:
            return UNEXPLAINED, f"the client did not send it, the gateway answered {entries[-1].code}"
        return f"never sent:{NEVER_SENT[request.error]}", ""
    if not entries:
        seen = f"answered {request.status}" if request.status else f"failed ({request.error.name.lower()})"
        return UNEXPLAINED, f"the client says {seen}, the gateway has no record of it"
    last = entries[-1]
    if request.status == 0:
        return f"gave up:{last.revision or 'no revision'}:{last.flags or last.code}", ""
    if last.code != request.status:
        return UNEXPLAINED, f"the client got {request.status}, the gateway sent {last.code}"
    if last.flags not in INFORMS | {""} or not request.revision:
        return f"refused:{last.flags or last.code}", ""
    if last.revision and last.revision != request.revision:
        return UNEXPLAINED, f"the client was served by {request.revision}, the gateway says {last.revision}"
    return f"answered:{request.revision}", ""


def columns(
    sent: Sequence[Sent], classes: Sequence[str], gateway: Mapping[int, Sequence[GatewayEntry]]
) -> dict[str, Any]:
    """The ledger's columns: one row a request."""
    last = [found[-1] if (found := gateway.get(request.sequence)) else None for request in sent]
    return {
        "sequence": [request.sequence for request in sent],
        "class": list(classes),
        "status": [request.status for request in sent],
        "revision": [request.revision for request in sent],
        "error": [request.error.name.lower() for request in sent],
        "intended_s": [request.intended_us / 1e6 for request in sent],
        "schedule_delay_ms": [(request.sent_us - request.intended_us) / 1e3 for request in sent],
        "latency_ms": [request.latency_us / 1e3 for request in sent],
        "gateway_code": [entry and entry.code for entry in last],
        "gateway_flags": [entry and entry.flags for entry in last],
        "gateway_ms": [entry and entry.ms for entry in last],
        "gateway_attempts": [entry and entry.attempts for entry in last],
    }
