"""A load by time: what was due, left, was answered and failed in each second, and its latencies; in columns.

Memory is that of the seconds which are still open, those that a process has not passed yet, and of some numbers a
second. numpy is imported when called, to keep the facade light.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from statistics import fmean
from typing import TYPE_CHECKING, Any

from harness.load.blocks import Block
from harness.load.join import ANSWERED, Joined
from harness.load.latency import NO_REVISION, failed, left
from harness.report.record import LoadTimeline, RevisionTimeline

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_STEPS = 3600
PERCENTILES = (50.0, 90.0, 99.0, 99.9, 100.0)
_NONE = (math.nan,) * len(PERCENTILES)


def step_of(duration_s: float) -> int:
    """How many whole seconds an entry covers, so that a load of any length has few enough of them."""
    return max(1, math.ceil(duration_s / MOST_STEPS))


class Counts:
    """How often each step was named; grows with them."""

    def __init__(self) -> None:
        import numpy as np

        self._found: NDArray[np.int64] = np.zeros(0, np.int64)

    def add(self, steps: NDArray[Any]) -> None:
        import numpy as np

        found = np.bincount(steps, minlength=len(self._found))
        found[: len(self._found)] += self._found
        self._found = found

    def __len__(self) -> int:
        return len(self._found)

    def listed(self, length: int) -> list[int]:
        return [*self._found.tolist(), *[0] * (length - len(self._found))]


@dataclass
class Cells:
    """Latencies by step: percentiles in milliseconds, and how many requests they are of and failed."""

    requests: dict[int, int] = field(default_factory=dict)
    failed: dict[int, int] = field(default_factory=dict)
    percentiles: dict[int, tuple[float, ...]] = field(default_factory=dict)
    delays: dict[int, float] = field(default_factory=dict)

    def add(self, step: int, rows: NDArray[Any]) -> None:
        self.requests[step] = len(rows)
        self.failed[step] = int(failed(rows).sum())
        self.percentiles[step] = _percentiles_ms(rows["latency_us"][rows["status"] > 0], PERCENTILES)
        self.delays[step] = _percentiles_ms(rows["sent_us"] - rows["intended_us"], (99.0,))[0]

    def column(self, which: int, length: int) -> list[float]:
        return [self.percentiles.get(step, _NONE)[which] for step in range(length)]


class Timeline:
    """Takes a load block by block; `finished` is its timeline, with an entry for each `step_s` seconds."""

    def __init__(self, step_s: int = 1) -> None:
        self._step_s = step_s
        self._offered, self._sent, self._answered, self._ended = Counts(), Counts(), Counts(), Counts()
        self._failed: dict[str, Counts] = defaultdict(Counts)
        self._all = Cells()
        self._revisions: dict[int, Cells] = defaultdict(Cells)
        self._open: NDArray[Any] | None = None

    def add(self, known: Block, joined: Joined, complete_s: int) -> None:
        """Take the requests of a block; none that was due before second `complete_s` will come later."""
        records = known.records
        went, ended = left(records), records["intended_us"] + records["latency_us"]
        self._offered.add(self._steps(records["intended_us"]))
        self._sent.add(self._steps(records["sent_us"][went]))
        self._ended.add(self._steps(ended[went]))
        self._answered.add(self._steps(ended[records["status"] > 0]))
        self._note_failed(records, joined)
        self._summarise(records, complete_s // self._step_s)

    def finished(self, names: Sequence[str], cpu: Sequence[Sequence[float]] = ()) -> LoadTimeline:
        """All of it; `names`: number -> revision; `cpu`: what share of a core each process used, second by second."""
        import numpy as np

        if self._open is not None:
            self._summarise(self._open[:0], 1 << 62)
        length = max(map(len, (self._offered, self._sent, self._ended)))
        in_flight = np.cumsum(self._sent.listed(length)) - np.cumsum(self._ended.listed(length))
        p50, p90, p99, p999, most = (self._all.column(which, length) for which in range(len(PERCENTILES)))
        named = sorted((names[number] or NO_REVISION, cells) for number, cells in self._revisions.items())
        return LoadTimeline(
            step_s=self._step_s,
            offered=self._offered.listed(length),
            sent=self._sent.listed(length),
            answered=self._answered.listed(length),
            failed={name: counts.listed(length) for name, counts in sorted(self._failed.items())},
            in_flight=in_flight.tolist(),
            p50_ms=p50,
            p90_ms=p90,
            p99_ms=p99,
            p999_ms=p999,
            max_ms=most,
            delay_p99_ms=[self._all.delays.get(step, math.nan) for step in range(length)],
            generator_cpu=busiest(cpu, self._step_s)[:length],
            revisions={name: _revision(cells, length) for name, cells in named},
        )

    def _steps(self, microseconds: NDArray[Any]) -> NDArray[Any]:
        import numpy as np

        return np.asarray(np.maximum(microseconds, 0) // (1_000_000 * self._step_s))

    def _note_failed(self, records: NDArray[Any], joined: Joined) -> None:
        import numpy as np

        bad = failed(records) | (joined.whys > 0)
        for number, status in np.unique(np.stack([joined.classes[bad], records["status"][bad]]), axis=1).T:
            name = joined.class_names[number]
            rows = bad & (joined.classes == number) & (records["status"] == status)
            label = f"status {status}" if name.startswith(ANSWERED) else name
            self._failed[label].add(self._steps(records["intended_us"][rows]))

    def _summarise(self, records: NDArray[Any], complete: int) -> None:
        """Percentiles of the steps before `complete`; the other rows wait."""
        import numpy as np

        rows = records if self._open is None else np.concatenate([self._open, records])
        steps = self._steps(rows["intended_us"])
        done = steps < complete
        self._open = rows[~done]
        rows, steps = rows[done], steps[done]
        order = np.argsort(steps, kind="stable")
        found, starts = np.unique(steps[order], return_index=True)
        for step, group in zip(found.tolist(), np.split(rows[order], starts[1:]), strict=False):
            self._all.add(step, group)
            for number in np.unique(group["revision"]).tolist():
                self._revisions[number].add(step, group[group["revision"] == number])


def busiest(cpu: Sequence[Sequence[float]], step_s: int) -> list[float]:
    """The largest mean share of a core that one of the processes used in each step."""
    means = [[fmean(each[first : first + step_s]) for first in range(0, len(each), step_s)] for each in cpu]
    return [round(max(step), 3) for step in zip_longest(*means, fillvalue=0.0)]


def _revision(cells: Cells, length: int) -> RevisionTimeline:
    return RevisionTimeline(
        requests=[cells.requests.get(step, 0) for step in range(length)],
        failed=[cells.failed.get(step, 0) for step in range(length)],
        p50_ms=cells.column(0, length),
        p99_ms=cells.column(2, length),
    )


def _percentiles_ms(microseconds: NDArray[Any], percentiles: Sequence[float]) -> tuple[float, ...]:
    """The smallest values that these percentages of all do not exceed, exactly; NaN if there are none."""
    import numpy as np

    if not len(microseconds):
        return (math.nan,) * len(percentiles)
    ordered = np.sort(microseconds)
    ranks = [max(1, math.ceil(share / 100 * len(ordered))) for share in percentiles]
    return tuple(round(float(ordered[rank - 1]) / 1e3, 3) for rank in ranks)
