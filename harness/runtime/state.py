"""The state file of a run: whom it started, so that nothing outlives it unnoticed and nothing else is ever killed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness.runtime.identity import Identity
from harness.runtime.owner import Owner
from harness.runtime.paths import state_home

SWEEP_S = 120.0
SCRATCH = "rehearsal-"  # how the name of every scratch folder begins


def is_gone(file: Path) -> bool:
    """Whether a state file is known not to be there; into another user's folder nobody else can look."""
    try:
        return not file.is_file()
    except OSError:
        return False


@dataclass(frozen=True)
class ChildState:
    """One child of a run."""

    name: str
    process: Identity


@dataclass(frozen=True)
class RunState:
    """One running platform: its owner, its children, the addresses for `rehearse status`, its scratch folder.

    `sweep` are the arguments of `python -P -m` that end what is no process of this one's, such as containers.
    """

    run_id: str
    folder: str
    owner: Owner
    started_at: float = field(default_factory=time.time)
    children: tuple[ChildState, ...] = ()
    addresses: dict[str, str] = field(default_factory=dict)
    scratch: str = ""
    sweep: tuple[str, ...] = ()

    def living(self) -> list[ChildState]:
        return [child for child in self.children if child.process.alive()]

    def kill_children(self) -> list[str]:
        """Kill the process groups of the children that still are who they were; returns their names.

        None where the owner's pids mean nothing, as after a restart of the machine.
        """
        if not self.owner.here():
            return []
        return [child.name for child in reversed(self.children) if child.process.kill_group()]

    def swept(self) -> list[str]:
        """End what is left beside the processes; a line for each, none where nothing can be asked any more."""
        if not self.sweep:
            return []
        argv = [sys.executable, "-P", "-m", *self.sweep]
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            done = subprocess.run(argv, capture_output=True, text=True, timeout=SWEEP_S, check=False)
            return done.stdout.splitlines()
        return []

    def remove_scratch(self) -> None:
        """Remove the folder of sockets and temporary files; nothing that does not have its name."""
        if Path(self.scratch).name.startswith(SCRATCH):
            shutil.rmtree(self.scratch, ignore_errors=True)


def write(path: Path, state: RunState) -> None:
    """Write the state beside its target and rename it."""
    beside = path.with_suffix(".tmp")
    beside.write_text(json.dumps(asdict(state)), encoding="utf-8")
    beside.replace(path)


def read(path: Path) -> RunState | None:
    """The state in a file; None if it is gone or is not a state."""
    try:
        return _from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def list_runs() -> list[RunState]:
    """The runs whose owner still lives, oldest first."""
    states = [state for _, state in _state_files() if state.owner.alive()]
    return sorted(states, key=lambda state: state.started_at)


def gc() -> list[str]:
    """Kill what runs left whose owner is known to be dead; returns "run: child" for each process killed.

    A home may be shared between machines or containers: what runs there is not touched.
    """
    killed: list[str] = []
    for path, state in _state_files():
        if state.owner.dead():
            killed += [f"{state.run_id}: {name}" for name in [*state.kill_children(), *state.swept()]]
            state.remove_scratch()
            path.unlink(missing_ok=True)
    return killed


def state_path(run_id: str) -> Path:
    """Where the state of this run's supervisor lies; the pid tells apart runs of one name in two folders."""
    return state_home() / f"{run_id}.{os.getpid()}.json"


def _state_files() -> Iterator[tuple[Path, RunState]]:
    """The states that can be read. Others stay: they may be another version's, and say whom it has started."""
    for path in sorted(state_home().glob("*.json")):
        if state := read(path):
            yield path, state


def _from_json(data: dict[str, Any]) -> RunState:
    return RunState(
        run_id=data["run_id"],
        folder=data["folder"],
        owner=Owner(**{**data["owner"], "process": Identity(**data["owner"]["process"])}),
        started_at=data["started_at"],
        children=tuple(ChildState(child["name"], Identity(**child["process"])) for child in data["children"]),
        addresses=data["addresses"],
        scratch=data.get("scratch", ""),
        sweep=tuple(data.get("sweep", ())),
    )
