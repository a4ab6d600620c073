"""Whole `rehearse run`s in processes of their own, followed through their events; and what is left of them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.report.record import RunRecord
from harness.report.store import load_record
from harness.runtime import state
from harness.runtime.clock import Deadline
from harness.runtime.supervisor import base_env
from harness.runtime.wait import wait

MARKER = "A_WHOLE_RUN"
SMALL = """
[train]
trials = 1

[slo]
errors = 0.2
slower_than_ms = 500
slow = 0.5

[gate]
margin = 0.5
slice_margin = 0.9
max_calibration_error = 0.5
max_latency_ms = 500

[load]
rps = 200
steps = [50, 100]
"""
"""A release with wide promises: what is rehearsed here is the fault, not the model."""


@dataclass
class WholeRun:
    """A run that goes on; its `home`, a folder of this run alone, is named in the environment of its processes."""

    home: Path
    reports: Path
    states: Path
    process: subprocess.Popen[bytes]
    name: str = "rehearse run"

    @property
    def folder(self) -> Path:
        """The run folder, once it is there; it is named after the home."""
        return next(self.reports.glob(f"*-{self.home.name}"))

    def events(self) -> list[dict[str, Any]]:
        found = list(self.reports.glob(f"*-{self.home.name}/events.jsonl"))
        lines = found[0].read_text(encoding="utf-8").split("\n")[:-1] if found else []
        return [json.loads(line) for line in lines]

    def await_event(self, kind: str, words: str = "", within_s: float = 90.0) -> dict[str, Any]:
        """The first event of this kind whose subject or message has `words`."""

        def found() -> dict[str, Any] | None:
            hits = (e for e in self.events() if e["kind"] == kind and words in f"{e['subject']}: {e['message']}")
            return next(hits, None)

        return wait(found, what=f"event {kind} {words}", deadline=Deadline.after(within_s), child=self, every_s=0.02)

    def noted(self) -> state.RunState:
        """The run's own note of its processes and addresses."""
        (path,) = self.states.glob(f"*.{self.process.pid}.json")
        return wait(lambda: state.read(path), what="the run's state", deadline=Deadline.after(10), child=self)

    def child(self, name: str) -> state.ChildState:
        """The process of this name, else the newest whose name begins so."""
        children = self.noted().children[::-1]
        return next(child for child in sorted(children, key=lambda c: c.name != name) if child.name.startswith(name))

    def kill(self, name: str) -> None:
        os.kill(self.child(name).process.pid, signal.SIGKILL)

    def end(self, within_s: float = 90.0) -> int:
        """The exit code."""
        return self.process.wait(within_s)

    def record(self) -> RunRecord:
        return load_record(self.folder)

    def out(self) -> str:
        return (self.home / "out").read_text(encoding="utf-8")

    def err(self) -> str:
        return (self.home / "err").read_text(encoding="utf-8")

    def left(self) -> list[str]:
        """Command lines of the processes that this run started, directly or not, and that still run."""
        return [_command(pid) for pid in processes_of(self.home)]

    def poll(self) -> int | None:
        return self.process.poll()

    def tail(self, lines: int = 20) -> str:
        return "\n".join((self.out() + self.err()).splitlines()[-lines:])


@contextmanager
def whole_run(
    home: Path, *arguments: str, config: str = SMALL, wrapper: Sequence[str] = (), **environment: str
) -> Iterator[WholeRun]:
    """Start one in the folder `home`, called like it; whatever is left of it at the end is killed."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "rehearsal.toml").write_text(config, encoding="utf-8")
    places = {"REHEARSAL_STATE": str(home / "state"), "REHEARSAL_RUNS": str(home / "reports"), MARKER: f"{home}/"}
    env = {**base_env(), **places, **environment}
    argv = [*wrapper, sys.executable, "-m", "harness.cli", "run", "--name", home.name, *arguments]
    with (home / "out").open("wb") as out, (home / "err").open("wb") as err:
        process = subprocess.Popen(argv, cwd=home, env=env, stdout=out, stderr=err, start_new_session=True)
    try:
        yield WholeRun(home, Path(env["REHEARSAL_RUNS"]), Path(env["REHEARSAL_STATE"]), process)
    finally:
        for pid in processes_of(home):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait(30)


def processes_of(home: Path) -> list[int]:
    """The living processes that were started, directly or not, by the run of this home."""
    mark = f"{MARKER}={home}/".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):  # it ended meanwhile, or is somebody else's
                if mark in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
    return found


def _command(pid: int) -> str:
    try:
        text = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return f"{pid} (ended)"
    return f"{pid} {text.strip()}"
