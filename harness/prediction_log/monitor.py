"""Judges windows of a prediction log as they end, and tells Prometheus.

    python -P -m harness.prediction_log.monitor --config FILE --port PORT [--host HOST]

FILE is JSON, read again when it changes: {"log", "out": folders, "plan": fields of WindowPlan, "pages": bool,
"services": [{"namespace", "service", "revision"?, "features", "reference", "calibration": files}]}. Each window's
verdict is a DriftRecord in out/<namespace>/<service>/<end>.json; those that are there are not judged again.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.components.files import replace_text
from harness.components.metrics_server import MetricsServer
from harness.errors import RehearsalError
from harness.lifecycle import quality
from harness.lifecycle.calibration import Calibration
from harness.lifecycle.drift import LABEL, DriftPolicy, judge, labels_needed
from harness.lifecycle.drift_windows import WindowPlan
from harness.prediction_log import reader
from harness.prediction_log.drift_series import DriftSeries
from harness.prediction_log.pages import Pages

if TYPE_CHECKING:
    import pandas as pd

LABELS_BACK = 10
"""Labels come late: the quality that is judged is of the newest labelled rows of so many windows."""
IDLE_S = 0.5


@dataclass(frozen=True)
class Watched:
    """A service whose windows are judged."""

    namespace: str
    service: str
    features: list[str]
    reference: pd.DataFrame
    calibration: Calibration
    reference_file: str
    revision: str = ""

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Watched:
        import pandas as pd

        return cls(
            spec["namespace"],
            spec["service"],
            spec["features"],
            pd.read_parquet(spec["reference"]),
            Calibration(**json.loads(Path(spec["calibration"]).read_text(encoding="utf-8"))),
            spec["reference"],
            spec.get("revision", ""),
        )


class Monitor:
    """What the process does: `look` judges what is due."""

    def __init__(self, config: Path, began: float) -> None:
        self._config = config
        self._told = ""
        self._began = began
        self._series = DriftSeries()
        self._pages: Pages | None = None
        self._read_config()

    @property
    def series(self) -> DriftSeries:
        return self._series

    def look(self, now: float) -> float:
        """Judge every window that is due; returns when to look again."""
        self._read_config()
        for watched in self._watched:
            folder = self._out / watched.namespace / watched.service
            folder.mkdir(parents=True, exist_ok=True)
            for start, end in self._plan.due(max(self._began, _last(folder)), now):
                self._judge(watched, folder, start, end)
        return self._plan.next_look(now)

    def close(self) -> None:
        if self._pages is not None:
            self._pages.close()

    def _read_config(self) -> None:
        text = self._config.read_text(encoding="utf-8")
        if text == self._told:
            return
        told, self._told = json.loads(text), text
        self._log, self._out = Path(told["log"]), Path(told["out"])
        self._plan = WindowPlan(**told["plan"])
        self._watched = [Watched.of(spec) for spec in told["services"]]
        if told["pages"] and self._pages is None:
            self._pages = Pages(self._out)

    def _judge(self, watched: Watched, folder: Path, start: float, end: float) -> None:
        name = f"{watched.namespace}/{watched.service} {_clock(start)} to {_clock(end)}"
        rows = 0
        try:
            frame = self._rows(watched, end)
            window = frame[frame[reader.AT] >= start]
            known = frame[frame[reader.TARGET].notna() & frame[reader.PREDICTION].notna()]
            rows = len(window)
            record, pair = judge(
                watched.reference,
                window[[*watched.features, reader.PREDICTION]],
                window_name=name,
                calibration=watched.calibration,
                labelled=_newest(known, watched, rows),
            )
        except RehearsalError as error:
            self._series.unjudged(watched.namespace, watched.service, rows)
            replace_text(
                folder / f"{end:.3f}.unjudged", json.dumps({"end": end, "rows": rows, "why": str(error)}), beside=folder
            )
            print(str(error), file=sys.stderr, flush=True)
            return
        record.service = f"{watched.namespace}/{watched.service}"
        record.start, record.end, record.labelled = start, end, int(window[reader.TARGET].notna().sum())
        if self._pages is not None:
            record.html = self._pages.draw(pair, record, watched.reference_file, f"{watched.service}-{end:.3f}")
        replace_text(folder / f"{end:.3f}.json", record.model_dump_json(), beside=folder)
        self._series.judged(watched.namespace, watched.service, record, float(window[reader.AT].max()))
        figures = quality.metrics(known[reader.TARGET].to_numpy(), known[reader.PREDICTION].to_numpy())
        self._series.quality(watched.namespace, watched.service, figures)

    def _rows(self, watched: Watched, end: float) -> pd.DataFrame:
        """What the watched revision predicted up to `end`, as far back as labels are looked for."""
        since = end - LABELS_BACK * self._plan.length_s
        return reader.read(
            self._log,
            watched.namespace,
            watched.service,
            watched.features,
            since=since,
            until=end,
            revision=watched.revision or None,
        ).frame


def _newest(known: pd.DataFrame, watched: Watched, rows: int) -> pd.DataFrame:
    """The newest labelled rows: as many as the window has rows, or more if quality needs more."""
    needed = labels_needed(len(watched.reference), DriftPolicy(false_alarm=watched.calibration.per_look)) or 0
    return known.tail(max(rows, needed)).rename(columns={reader.TARGET: LABEL})


def _last(folder: Path) -> float:
    """The end of the newest window that was looked at."""
    ends = [float(path.stem) for path in (*folder.glob("*.json"), *folder.glob("*.unjudged"))]
    return max(ends, default=0.0)


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(at))


def main(argv: list[str]) -> None:
    """Judge until SIGTERM."""
    flags = argparse.ArgumentParser(prog="rehearsal-drift-exporter")
    flags.add_argument("--config", type=Path, required=True)
    flags.add_argument("--port", type=int, required=True)
    flags.add_argument("--host", default="127.0.0.1")
    given = flags.parse_args(argv)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    monitor = Monitor(given.config, time.time())
    served = MetricsServer(monitor.series.registry, given.port, given.host)
    try:
        while not ended.is_set():
            again = monitor.look(time.time())
            ended.wait(min(IDLE_S, max(0.0, again - time.time())))
    finally:
        served.close()
        monitor.close()


if __name__ == "__main__":
    main(sys.argv[1:])
