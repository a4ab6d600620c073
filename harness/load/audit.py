"""The generator watches itself: a figure that the generator spoilt is not the server's.

While it runs, each process renews a small file twice a second: how late requests left over the last seconds, and what
share of a core the process used. The schedule delay is part of every latency, because latency counts from the intended
send; so when its 99th percentile is over a tenth of what is to be judged, the judgement would be about the generator.
What left very late is told at once: a machine that stood still makes up for it in one burst, whose answers are slow
within less than half a second, and a verdict on them has to know.
"""

from __future__ import annotations

import time
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.load.records import read_json, write_json

EVERY_S = 0.5
WINDOWS = 10  # "the last seconds" are so many times EVERY_S
LATE_SHARE = 0.1
VERY_LATE_US = 10_000  # a tenth of the usual SLO's bound
AT_ONCE_S = 0.05
SATURATED = 0.95
STALE_S = 3.0
_BITS = 5  # 16 buckets an octave: at most 6.25 % above the true value, in a few hundred counters
_HALF = 1 << (_BITS - 1)
_BUCKETS = 40 * _HALF


@dataclass(frozen=True)
class Reading:
    """One process's last seconds: `at` is time.monotonic(), `cpu` the share of a core in [0, 1] or a little above."""

    at: float
    late_p99_ms: float
    cpu: float


class SelfAudit:
    """The generator's side; `delayed` is called once a request, `look` whenever there is a moment."""

    def __init__(
        self,
        path: Path,
        now: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.process_time,
    ) -> None:
        self._path = path
        self._now, self._cpu = now, cpu
        self._delays = [0] * _BUCKETS
        self._past: deque[list[int]] = deque(maxlen=WINDOWS)
        self._looks: deque[tuple[float, float]] = deque([(now(), cpu())], maxlen=WINDOWS + 1)
        self._history = list(self._looks)  # two numbers twice a second, however long the load is
        self._busiest = 0.0
        self._very_late = False
        self._told_at = now()
        self._tell(0.0)

    def delayed(self, microseconds: int) -> None:
        """Count one request that left so late."""
        octave = max(0, microseconds.bit_length() - _BITS)
        self._delays[octave * _HALF + (microseconds >> octave)] += 1
        self._very_late |= microseconds > VERY_LATE_US

    def look(self) -> bool:
        """Write the file if it is due, or if a request left very late; returns whether it was due."""
        now = self._now()
        due = now - self._looks[-1][0] >= EVERY_S
        if due:
            self._turn()
        elif self._very_late and now - self._told_at >= AT_ONCE_S:
            self._tell(self._cpu_share())
        return due

    def cpu_by_second(self, origin: float) -> list[float]:
        """The share of a core that was used in each second from `origin`, to the second in which it looked last."""
        times = [at for at, _ in self._history]
        used: list[float] = []
        while (start := origin + len(used)) < times[-1]:
            first, last = max(0, bisect_right(times, start) - 1), min(len(times) - 1, bisect_left(times, start + 1))
            (began, before), (ended, after) = self._history[first], self._history[last]
            used.append(round((after - before) / max(ended - began, 1e-9), 3))
        return used

    def close(self) -> float:
        """Write the file for the last time; returns the largest share of a core that was used for some seconds."""
        self._turn()
        return max(self._busiest, self._cpu_share() if len(self._looks) <= WINDOWS else 0.0)

    def _turn(self) -> None:
        self._past.append(self._delays)
        self._delays = [0] * _BUCKETS
        self._looks.append((self._now(), self._cpu()))
        self._history.append(self._looks[-1])
        cpu = self._cpu_share()
        if len(self._looks) > WINDOWS:
            self._busiest = max(self._busiest, cpu)
        self._tell(cpu)

    def _cpu_share(self) -> float:
        (began, before), (ended, after) = self._looks[0], self._looks[-1]
        return (after - before) / max(ended - began, 1e-9)

    def _tell(self, cpu: float) -> None:
        self._very_late, self._told_at = False, self._now()
        write_json(self._path, asdict(Reading(self._told_at, self._p99_ms(), round(cpu, 3))))

    def _p99_ms(self) -> float:
        counts = [sum(column) for column in zip(self._delays, *self._past, strict=True)]
        left = sum(counts) * 0.01
        for bucket in reversed(range(len(counts))):
            left -= counts[bucket]
            if left < 0:
                octave = max(0, bucket // _HALF - 1)
                return (((bucket - octave * _HALF + 1) << octave) - 1) / 1e3
        return 0.0


def read(paths: Sequence[Path]) -> list[Reading | None]:
    """The last reading of each process; None for one that has written none yet."""
    return [Reading(**read_json(path)) if path.exists() else None for path in paths]


def withheld(readings: Sequence[Reading | None], bound_ms: float, now: float) -> str:
    """Why nothing can be said now about latencies near `bound_ms`; empty if the generator is no reason to doubt."""
    for number, reading in enumerate(readings):
        who = "the load generator" + (f" (process {number + 1} of {len(readings)})" if len(readings) > 1 else "")
        if reading is None:
            return f"{who} has not audited itself yet"
        if now - reading.at > STALE_S:
            return f"{who} has not audited itself for {now - reading.at:.1f} s"
        if reading.late_p99_ms > LATE_SHARE * bound_ms:
            return f"{who} sends late: {_late(reading.late_p99_ms, f'the bound of {bound_ms:g} ms')}"
        if reading.cpu > SATURATED:
            return f"{who} saturates a core: {reading.cpu:.0%} busy"
    return ""


def distrust(late_p99_ms: float, latency_p99_ms: float, cpu: float) -> str:
    """Why the latencies of a whole load cannot be trusted; empty if they can."""
    reasons = []
    if latency_p99_ms and late_p99_ms > LATE_SHARE * latency_p99_ms:
        reported = f"a latency p99 of {latency_p99_ms:.3g} ms"
        reasons.append(f"the load generator sent late: {_late(late_p99_ms, reported)}")
    if cpu > SATURATED:
        reasons.append(f"the load generator saturated a core: {cpu:.0%} busy")
    return "; ".join(reasons)


def _late(p99_ms: float, what: str) -> str:
    return f"schedule delay p99 {p99_ms:.3g} ms is over {LATE_SHARE:.0%} of {what}"
