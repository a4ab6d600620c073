"""`rehearse up`, `status` and `down`: a platform that outlives one test, found again through its state file."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from harness._world_options import as_flags, world_options
from harness.backends.kubernetes.world import WorldOptions
from harness.backends.session import require
from harness.config import load_settings
from harness.errors import PlatformError, RehearsalError, UsageError
from harness.images.leftovers import collect
from harness.runtime import state
from harness.runtime.clock import Deadline
from harness.runtime.interrupts import sigterm_interrupts
from harness.runtime.paths import new_run_folder, runs_home, state_home

NAME = "platform"
START_TIMEOUT_S = 120.0
CLUSTER_TIMEOUT_S = 600.0
NOTHING_LEFT = "nothing was left behind"
STOP_TIMEOUT_S = 60.0


def world(flags: Mapping[str, Any]) -> WorldOptions:
    """The world of a platform that is kept up; ConfigError for flags that make no sense, and what it lacks here."""
    options = world_options(load_settings(None, flags))
    require(options)
    return options


def keep_up(
    reports: Path | None, options: WorldOptions, *, serve: bool = False, as_json: bool, ready_fd: int = -1
) -> None:
    """Starts a platform, says its addresses, and keeps it until SIGINT or SIGTERM; with a model if it is to `serve`."""
    from harness import offering
    from harness._cli_progress import Progress
    from harness.plan import Plan
    from harness.platform import Platform

    folder = new_run_folder(runs_home(reports), NAME)
    with sigterm_interrupts(), Progress(sys.stderr) as progress:
        deadline = Deadline.after(start_timeout_s(options))
        with Platform.up(folder, world=options, listener=progress, deadline=deadline) as platform:
            if serve:
                offering.announce(platform, *offering.serve(platform, Plan.of(load_settings(None, {}))))
            _announce(_state_of(folder), as_json=as_json, ready_fd=ready_fd)
            with contextlib.suppress(KeyboardInterrupt):  # before this line, an interruption ends with 130
                signal.pause()
        print(f"rehearse: stopped {folder.name}", file=sys.stderr)


def detach(reports: Path | None, options: WorldOptions, *, serve: bool = False, as_json: bool) -> None:
    """Starts `rehearse up` in a session of its own and returns once it is ready."""
    home = runs_home(reports)
    log = state_home() / f"up-{os.getpid()}.log"
    reader, writer = os.pipe()
    argv = [sys.executable, "-P", "-m", "harness.cli", "up", "--reports", str(home), "--ready-fd", str(writer)]
    argv += [*as_flags(options), *(["--serve"] if serve else [])]
    with log.open("wb") as output, os.fdopen(reader) as ready:
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=(writer,), start_new_session=True
        )
        os.close(writer)
        try:
            answered, _, _ = select.select([ready], [], [], start_timeout_s(options))
        except KeyboardInterrupt:
            child.terminate()  # it has a session of its own: the terminal's Ctrl-C did not reach it
            raise
        run_id = ready.readline().strip() if answered else ""
    if not run_id:
        child.terminate()
        tail = log.read_text(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise PlatformError(f"up: the platform did not start: {tail[0]}", hint=f"The whole log: {log}")
    shutil.move(log, home / run_id / "up.log")
    _announce(find_running("up", str(home / run_id)), as_json=as_json)


def start_timeout_s(options: WorldOptions) -> float:
    return START_TIMEOUT_S if options.backend == "embedded" else CLUSTER_TIMEOUT_S


@dataclass
class Garbage:
    """What was ended of what dead runs left, why the rest was not, and what is kept, a line for each."""

    ended: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    alone: list[str] = field(default_factory=list)

    def told(self, *, as_json: bool) -> str:
        if as_json:
            return json.dumps(asdict(self))
        lines = [f"ended {one}" for one in self.ended]
        lines += [f"left alone: {one}, which is kept; --kept ends it" for one in self.alone]
        return "\n".join(lines) or ("" if self.failed else NOTHING_LEFT)


def collect_garbage(*, kept: bool = False) -> Garbage:
    """End what dead runs left behind, with `kept` also what --keep left; what fails keeps nothing else from its end."""
    from harness.backends.containers import sweep as containers
    from harness.backends.kubernetes import sweep as clusters

    collectors: dict[str, Callable[[], list[str]]] = {
        "processes": state.gc,
        "containers": lambda: containers.gc(kept=kept),
        "clusters": lambda: [f"cluster {name}" for name in clusters.gc(kept=kept)],
        "containers of builds": lambda: [f"container {name}" for name in collect()],
    }
    found = Garbage()
    for what, end in collectors.items():
        try:
            found.ended += end()
        except (RehearsalError, OSError) as error:
            found.failed.append(f"gc: {what}: {' '.join(str(error).split())}")
    found.alone = [*containers.alone(), *clusters.alone()]
    return found


def collect_in_cluster(options: WorldOptions, runs: Sequence[str], *, as_json: bool) -> str:
    """End what dead runs left in a cluster of somebody's, and say what it was, and what was left alone."""
    from harness.backends.kubernetes.leftovers import gc
    from harness.clients.kubernetes import Kube

    with Kube.connect(options.kubeconfig, options.context) as kube:
        found = gc(kube, sorted(set(options.namespaces.values())), runs)
    if as_json:
        return json.dumps(asdict(found))
    lines = [f"ended {one}" for one in found.ended]
    lines += [f"left alone: {one}; --run ends it" for one in found.alone]
    lines += [f"does not go: {one}" for one in found.stuck]
    return "\n".join(lines) or NOTHING_LEFT


def describe_runs(*, as_json: bool) -> str:
    """The running platforms, as text or JSON."""
    runs = state.list_runs()
    if as_json:
        return json.dumps([_as_json(run) for run in runs])
    return "\n".join(_as_text(run) for run in runs) or "nothing runs (start a platform with: rehearse up)"


def stop_runs(name: str | None, *, everything: bool) -> list[str]:
    """Asks the owners of these runs to stop, and waits until they are gone; returns their run ids."""
    runs = state.list_runs() if everything else [find_running("down", name)]
    deadline = Deadline.after(STOP_TIMEOUT_S)
    return [_stop(run, deadline) for run in runs]


def _stop(run: state.RunState, deadline: Deadline) -> str:
    try:
        owner = os.pidfd_open(run.owner.pid)
    except ProcessLookupError:
        return run.run_id
    try:
        if run.owner.alive():  # asked after the descriptor is open: it cannot be another process any more
            signal.pidfd_send_signal(owner, signal.SIGTERM)
        ended, _, _ = select.select([owner], [], [], deadline.remaining_s())
    finally:
        os.close(owner)
    if not ended:
        raise PlatformError(f"down: {run.run_id} (pid {run.owner.pid}) still stops", hint="Run it again in a moment.")
    return run.run_id


def find_running(command: str, name: str | None) -> state.RunState:
    """The running platform of this run id, its start, or folder; None: the only one that runs."""
    runs = state.list_runs()
    exact = [run for run in runs if name in (run.run_id, run.folder)]
    matches = exact or [run for run in runs if name is None or run.run_id.startswith(name)]
    if len(matches) == 1:
        return matches[0]
    known = ", ".join(run.run_id for run in runs) or "none"
    if name is None:
        raise UsageError(f"{command}: {'which run?' if matches else 'nothing runs.'} Running: {known}")
    raise UsageError(f"run {name!r}: {'several match' if matches else 'not running'}. Running: {known}")


def _state_of(folder: Path) -> state.RunState:
    return next(run for run in state.list_runs() if run.folder == str(folder) and run.owner.pid == os.getpid())


def _announce(run: state.RunState, *, as_json: bool, ready_fd: int = -1) -> None:
    print(json.dumps(_as_json(run)) if as_json else _as_text(run), flush=True)
    if ready_fd >= 0:
        with os.fdopen(ready_fd, "w") as ready:
            ready.write(f"{run.run_id}\n")
    elif not as_json and run.owner.pid == os.getpid():
        print("Ctrl-C stops it; so does, from another terminal: rehearse down", file=sys.stderr)


def _as_json(run: state.RunState) -> dict[str, Any]:
    return {
        "run": run.run_id,
        "folder": run.folder,
        "pid": run.owner.pid,
        "started_at": run.started_at,
        "addresses": run.addresses,
        "processes": [{"name": child.name, "pid": child.process.pid} for child in run.living()],
    }


def _as_text(run: state.RunState) -> str:
    lines = [f"{run.run_id}  (pid {run.owner.pid}, {len(run.living())} processes)"]
    lines += [f"  {name:<12} {url}" for name, url in run.addresses.items()]
    return "\n".join([*lines, f"  {'folder':<12} {run.folder}"])
