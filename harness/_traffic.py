"""Traffic that the platform makes: loads that are accounted for, and windows of held-out rows that are replayed."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness._processors import ProcessorMeter, cores
from harness._reproduce import reproduce, to_host
from harness.clients.inference import Protocol, body_of
from harness.errors import ConfigError, RehearsalError
from harness.load import Ledger, Load
from harness.load.shape_file import parse_shape
from harness.load.shapes import Shape, Steady
from harness.load.trace import Replay
from harness.model_version import ModelVersion
from harness.run import Run
from harness.runtime.clock import Deadline
from harness.runtime.events import Event
from harness.service import READY_S, Service

GATEWAY = "envoy"  # the name of its component


@dataclass(frozen=True)
class Window:
    """A window of traffic to compare with the held-out reference: held-out rows, all or those that match `where`.

    rows: None takes as many as finding a shift of DriftPolicy.detectable needs.
    """

    name: str
    where: str | None = None
    rows: int | None = None
    expected: bool | None = None


class GatewayOutages:
    """When the gateway was away, as a run's events tell it; listens to them. For a world where it is no process."""

    def __init__(self) -> None:
        self._spells: list[tuple[float, float]] = []  # from, to; inf while it is away

    def __call__(self, event: Event) -> None:
        if event.subject != GATEWAY:
            return
        if event.kind == "process.died":
            self._spells.append((min(event.at, float(event.data.get("since", event.at))), math.inf))
        elif event.kind == "component.restarted":
            self._spells = [(start, min(end, event.at)) for start, end in self._spells]

    def moments(self, now: float) -> list[float]:
        """Unix seconds, one in each second of an outage: what ended around one of them met the outage."""
        return [start + second for start, end in self._spells for second in range(math.ceil(min(end, now) - start) + 1)]


def the_shape(rps: float | None, shape: Shape | str | None, trace: Path | str | None) -> Shape:
    """The shape that is meant by whichever of the three is given; ConfigError unless it is one of them."""
    given = [name for name, value in (("rps", rps), ("shape", shape), ("trace", trace)) if value is not None]
    if len(given) != 1:
        raise ConfigError(f"load: expected one of rps, shape and trace, got {' and '.join(given) or 'none'}")
    if rps is not None:
        return Steady(rps)
    if trace is not None:
        return Replay(str(trace))
    assert shape is not None
    return parse_shape(shape) if isinstance(shape, str) else shape


def write_bodies(path: Path, rows: Sequence[Sequence[Any]], features: Sequence[str], protocol: Protocol) -> None:
    """Write rows as request bodies, one a line. V2 gets a tensor a column: text has no place in a matrix of numbers."""
    named: Sequence[Any] = rows if protocol == "v1" else [dict(zip(features, row, strict=True)) for row in rows]
    path.write_text("".join(json.dumps(body_of(protocol, [row])) + "\n" for row in named), encoding="utf-8")


@contextmanager
def accounted(load: Load, service: Service, run: Run) -> Iterator[None]:
    """Offer a load to a service while the block lasts, and say at its end where every request went.

    Errors: LoadFailed if one is unexplained, unless the block itself fails: that says more.
    """
    meter = ProcessorMeter(service.processors)
    load.start(Deadline.after(READY_S))
    service.loads.append(load)
    try:
        with meter:
            yield
    except BaseException:
        try:
            _ended(load, service, run, meter)
        except RehearsalError as second:
            run.events.emit("load.failed", load.spec.name, second.message, level="warning")
        raise
    _ended(load, service, run, meter).check()


def _ended(load: Load, service: Service, run: Run, meter: ProcessorMeter) -> Ledger:
    service.loads.remove(load)
    ledger = load.stop(Deadline.after(READY_S))
    timeline = ledger.timeline
    steps = len(timeline.offered)
    timeline.server_cpu = cores(meter.readings, ledger.started_at, timeline.step_s, steps)
    name = f"{service.namespace}/{service.name}"
    where = run.remade or to_host(load.spec.url, service.host, service.name)
    run.record.loads.append(ledger.record(name, run.folder, reproduce(load.spec, ledger, load.slo, where)))
    return ledger


def windows_spec(
    windows: Sequence[Window], drawn: Mapping[str, Any], model: ModelVersion, service: Service, page: Path
) -> list[dict[str, Any]]:
    """Each window's drawn rows with what the service answers, as the drift job takes them.

    Evidently's full `page` (4 MB) is written for one window, the last that has a condition.
    """
    shown = next((window for window in reversed(windows) if window.where), None)
    return [
        {
            "name": window.name,
            "columns": model.features,
            "rows": drawn[window.name]["rows"],
            "predictions": service.predict(drawn[window.name]["rows"]),
            "expected": window.expected,
            "html": str(page) if window is shown else None,
        }
        for window in windows
    ]


def mismatches(differences: Sequence[float], tolerance: float) -> int:
    """How many differences are beyond the tolerance; one that is not a number is."""
    return sum(not difference <= tolerance for difference in differences)
