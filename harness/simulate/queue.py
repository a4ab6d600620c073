"""Servers with a queue on a virtual clock: what a capacity search is tried on, because their capacity is known.

Of the requests that come to an M/M/1 server of rate m at rate l, a share exp(-(m - l) t) takes longer than t (Kleinrock
1975), so the highest rate at which at most a share s does is m - ln(1/s) / t.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING, Literal

from harness.lifecycle.capacity import End, Probe, Search, following, goes_on, judge
from harness.lifecycle.probe import Answers, known, settled
from harness.report.record import CapacityStep

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LOOK_S = 1.0


@dataclass(frozen=True)
class QueueServer:
    """`workers` that each take `service_s` a request, exponentially distributed or always the same."""

    service_s: float
    workers: int = 1
    service: Literal["exponential", "constant"] = "exponential"
    arrivals: Literal["poisson", "constant"] = "poisson"
    errors: float = 0.0

    def capacity(self, slower_than_ms: float, slow: float) -> float:
        """The highest rate of Poisson arrivals that keeps the promise, for one worker with exponential times."""
        return 1 / self.service_s - log(1 / slow) / (slower_than_ms / 1000)

    def answers(self, rate: float, seconds: float, rng: np.random.Generator) -> Answers:
        """The requests of so many seconds at this rate, from an empty queue on."""
        import numpy as np

        number = int(rate * seconds)
        gaps = rng.exponential(1 / rate, number) if self.arrivals == "poisson" else np.full(number, 1 / rate)
        due = np.cumsum(gaps)
        work = np.full(number, self.service_s)
        if self.service == "exponential":
            work = rng.exponential(self.service_s, number)
        return Answers(due, 1000 * (self._ends(due, work) - due), rng.random(number) < self.errors)

    def _ends(self, due: NDArray[np.float64], work: NDArray[np.float64]) -> NDArray[np.float64]:
        """When each is answered: one worker by Lindley's recursion (1952), several by who is free first."""
        import numpy as np

        if self.workers == 1:
            done = np.cumsum(work)
            return done + np.maximum.accumulate(due - (done - work))
        free = [0.0] * self.workers
        ends = np.empty(len(due))
        for number, (at, takes) in enumerate(zip(due.tolist(), work.tolist(), strict=True)):
            ends[number] = max(at, heapq.heappop(free)) + takes
            heapq.heappush(free, float(ends[number]))
        return ends


def search_on(server: QueueServer, search: Search, rng: np.random.Generator) -> tuple[End, list[CapacityStep], float]:
    """A whole search on a virtual clock, by the code that decides a real one; what it found, its steps, its seconds."""
    steps: list[CapacityStep] = []
    elapsed_s = 0.0
    while isinstance(probe := following(search, steps, elapsed_s), Probe):
        step = _probed(server, search, probe, rng)
        steps.append(step)
        elapsed_s += step.duration_s
    return probe, steps, elapsed_s


def _probed(server: QueueServer, search: Search, probe: Probe, rng: np.random.Generator) -> CapacityStep:
    everything = server.answers(probe.rate, probe.most_s, rng)
    seconds = probe.least_s
    while True:
        seen = settled(known(everything, seconds, search.slo.slower_than_ms), search.slo)
        decision, guards = judge(search, probe.purpose, seen)
        if not goes_on(search, probe, seconds, decision, guards):
            break
        seconds = min(probe.most_s, seconds + LOOK_S)
    return CapacityStep(
        rate=probe.rate, purpose=probe.purpose, started_at=0.0, duration_s=seconds, requests=seen.requests,
        failed=seen.failed, slow=seen.slow, effective=seen.effective, p50_ms=seen.p50_ms, p99_ms=seen.p99_ms,
        guards=guards, decision=decision,
    )  # fmt: skip
