"""Injecting one fault when a rollout enters a phase, and ending it after its time."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from harness.chaos.faults import CLUSTER_FAULTS, CONTAINER_FAULTS, Fault, Hits, phase_name
from harness.chaos.readings import FaultyReadings
from harness.errors import CapabilityMissing, PlatformError, RehearsalError, UsageError
from harness.lifecycle.rollout import Phase, State
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog, Level
from harness.runtime.space import free_mb
from harness.runtime.wait import wait

if TYPE_CHECKING:
    from harness.backends.backend import Backend
    from harness.backends.status import ReplicaStatus

REPLICA_S = 20.0
SMALL_DISK_MB = 500.0
FILLER = ".filler"
GATHERING = (Phase.STARTING, Phase.SHIFTING, Phase.WATCHING)
Undo = Callable[[], None]


@runtime_checkable
class Corruptible(Protocol):
    """A model whose file can be made garbage."""

    def corrupt(self) -> None: ...


@dataclass(frozen=True)
class Target:
    """What a fault may act on: one rollout of one service, in its world. `revision` is the one that is to be hit."""

    backend: Backend
    events: EventLog
    namespace: str
    name: str
    revision: str
    readings: FaultyReadings
    model: Corruptible | None = None
    kill_controller: Callable[[], None] | None = None

    def replicas(self) -> list[ReplicaStatus]:
        """The processes of the revision that is to be hit."""
        return self.backend.faults.replicas(self.namespace, self.name, self.revision)


class Injection:
    """One fault, armed for one phase; call it with each state of the rollout, and `end` it when that is over.

    `early`: it began before the last step, so before the last evidence was in. `done`: it was carried out.
    """

    def __init__(self, fault: Fault, phase: Phase, target: Target) -> None:
        self.fault, self.phase, self.target = fault, phase, target
        self.done = False
        self.early = False
        self._began = False
        self._ending = ExitStack()
        self._timer: threading.Timer | None = None
        self._waiting: threading.Thread | None = None
        self._not_undone = ""

    @property
    def when(self) -> str:
        """Which fault, and in which phase."""
        return f"{self.fault.name} while {phase_name(self.phase)}"

    def __call__(self, state: State) -> None:
        """Begin, if this is the phase and it has not begun yet."""
        if state.phase is not self.phase or self._began:
            return
        self._began = True
        self.early = state.phase in GATHERING or state.index + 1 < len(state.policy.stages)
        if self.fault.hits is Hits.REPLICA and not self.target.replicas():
            # The canary is about to start: the rollout must go on for a replica to come.
            self._waiting = threading.Thread(target=self._begin_when_there, name="fault", daemon=True)
            self._waiting.start()
        else:
            self._begin()

    def end(self) -> None:
        """End what still lasts; PlatformError for what could not be undone when its time was over."""
        if self._waiting is not None and self._waiting is not threading.current_thread():
            self._waiting.join()
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()  # it may be undoing this very moment
        self._ending.close()
        if self._not_undone:
            raise PlatformError(self._not_undone)

    def _begin_when_there(self) -> None:
        what = f"{self.fault.name}: a replica of {self.target.revision}"
        wait(lambda: bool(self.target.replicas()), what=what, deadline=Deadline.after(REPLICA_S), every_s=0.002)
        self._begin()

    def _begin(self) -> None:
        self._tell("chaos.began", f"{self.when}: {self.fault.does}")
        self._ending.callback(self._tell, "chaos.ended", f"{self.fault.name} has ended")
        if undo := ACTS[self.fault.name](self.target, self.fault.settings):
            self._ending.callback(undo)
        if self.fault.lasts_s is not None:
            self._timer = threading.Timer(self.fault.lasts_s, self._end_in_time)
            self._timer.daemon = True
            self._timer.start()
        self.done = True

    def _end_in_time(self) -> None:
        """In the timer's thread, which nobody waits for: what it raises is told, and raised by `end`."""
        try:
            self._ending.close()
        except Exception as error:
            words = error.message if isinstance(error, RehearsalError) else f"{type(error).__name__}: {error}"
            self._not_undone = f"{self.fault.name} cannot be undone: {words}"
            self._tell("chaos.not_undone", self._not_undone, "error")

    def _tell(self, kind: str, message: str, level: Level = "warning") -> None:
        revision = self.target.revision if self.fault.hits is Hits.REPLICA else ""
        self.target.events.emit(kind, self.fault.name, message, level=level, revision=revision)


Settings = Mapping[str, object]


def _kill_replica(target: Target, _: Settings) -> None:
    target.backend.faults.kill(target.replicas()[0].pid)


def _stop_replica(target: Target, _: Settings) -> Undo:
    faults, pid = target.backend.faults, target.replicas()[0].pid
    faults.stop(pid)

    def go_on() -> None:
        with contextlib.suppress(UsageError):  # it may have been retired and ended meanwhile
            faults.cont(pid)

    return go_on


def _errors(target: Target, settings: Settings) -> Undo:
    return _commit(target, {"errors": settings["share"]})


def _slow(target: Target, settings: Settings) -> Undo:
    return _commit(target, {"delay_ms": settings["delay_ms"]})


def _commit(target: Target, fault: Mapping[str, object]) -> Undo:
    where = target.namespace, target.name, target.revision
    target.backend.faults.inject(*where, fault)
    return lambda: target.backend.faults.clear(*where)


def _corrupt(target: Target, _: Settings) -> None:
    """What has loaded the model goes on; so it is ended, and whatever starts in its place cannot load."""
    if target.model is None:
        raise UsageError("fault model-corrupt: it needs a model in a folder of its own, which a registry's is not")
    target.model.corrupt()
    for replica in target.replicas():
        target.backend.faults.kill(replica.pid)


def _kill_gateway(target: Target, _: Settings) -> None:
    target.backend.faults.kill(target.backend.faults.gateway())


def _reject_config(target: Target, _: Settings) -> None:
    target.backend.faults.reject_gateway_config()


def _kill_mlflow(target: Target, _: Settings) -> None:
    target.backend.faults.kill(target.backend.faults.mlflow())


def _kill_prometheus(target: Target, _: Settings) -> None:
    target.backend.faults.kill(target.backend.faults.prometheus())


def _stale(target: Target, _: Settings) -> Undo:
    target.readings.mode = "stale"
    return target.readings.mend


def _missing(target: Target, _: Settings) -> Undo:
    target.readings.mode = "missing"
    return target.readings.mend


def _late(target: Target, settings: Settings) -> Undo:
    target.readings.late_s = float(str(settings["late_s"]))
    target.readings.mode = "late"
    return target.readings.mend


def _fill_disk(target: Target, _: Settings) -> Undo:
    """A file that takes what is left; only on a small disk, which `rehearse chaos` makes for this fault."""
    folder = target.backend.folder
    if (free := free_mb(folder)) > SMALL_DISK_MB:
        hint = (
            f"give the run a disk of at most {SMALL_DISK_MB:.0f} MB, as `rehearse chaos --fault disk-full` does in the "
            "embedded world; containers have the fault volume-full."
        )
        raise CapabilityMissing(f"fault disk-full: {folder} has {free:.0f} MB free, too much to be filled", hint=hint)
    filler = folder / FILLER
    _fill(filler)
    return lambda: filler.unlink(missing_ok=True)


def _fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file:
        disk = os.fstatvfs(file.fileno())
        with contextlib.suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_frsize)
        # What a file system keeps for its own tables, or has got back meanwhile, goes block by block.
        with contextlib.suppress(OSError):
            file.seek(0, os.SEEK_END)
            while file.write(b"\0" * disk.f_frsize):
                pass


def _kill_controller(target: Target, _: Settings) -> None:
    if target.kill_controller is None:
        raise UsageError("fault controller-killed: the rollout is driven by this process itself")
    target.kill_controller()


def _disrupt(name: str) -> Callable[[Target, Settings], Undo | None]:
    def act(target: Target, _: Settings) -> Undo | None:
        return target.backend.faults.disrupt(name, target.namespace, target.name, target.revision)

    return act


ACTS: Mapping[str, Callable[[Target, Settings], Undo | None]] = {
    "replica-killed": _kill_replica,
    "replica-hangs": _stop_replica,
    "replica-errors": _errors,
    "replica-slow": _slow,
    "model-corrupt": _corrupt,
    "gateway-restarted": _kill_gateway,
    "gateway-config-rejected": _reject_config,
    "mlflow-down": _kill_mlflow,
    "prometheus-down": _kill_prometheus,
    "metrics-stale": _stale,
    "metrics-missing": _missing,
    "events-late": _late,
    "disk-full": _fill_disk,
    "controller-killed": _kill_controller,
    **{name: _disrupt(name) for name in (*CLUSTER_FAULTS, *CONTAINER_FAULTS)},
}
"""How each fault of the catalogue is done; the answer ends it."""
