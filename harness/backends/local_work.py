"""Work that a backend does on this machine, wherever its services run: jobs and pipelines in warm processes."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.backends.backend import Progress
from harness.backends.embedded.warmth import Warmth
from harness.causes import cause_first
from harness.errors import StepFailed, WaitTimeout
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog
from harness.runtime.job import ProgressReader, read_answer
from harness.runtime.process import ending
from harness.runtime.space import full
from harness.runtime.supervisor import Death, Supervisor
from harness.runtime.wait import wait


class LocalWork:
    """The supervisor of a run's processes and the jobs that they do; `broken` says what will not come back."""

    def __init__(
        self,
        folder: Path,
        events: EventLog,
        warmth: Warmth | None,
        broken: Callable[[], str] = lambda: "",
        sweep: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.supervisor = Supervisor(folder, events, sweep=sweep)
        self.supervisor.__enter__()
        self.warmth = warmth or Warmth(self.supervisor)
        self._began = time.time()
        self._jobs = itertools.count(1)
        self._broken = broken
        self.env: dict[str, str] = {}
        """Laid over the environment of every job."""

    def run(
        self, target: str, spec: str, *, name: str, deadline: Deadline, progress: Progress | None = None
    ) -> dict[str, Any]:
        """As Backend.work. Errors: the job's own; StepFailed if it ends without an answer, or not in time."""
        result = self.folder / "jobs" / f"{next(self._jobs):02}-{name}.json"
        result.parent.mkdir(exist_ok=True)
        nursery = self.warmth.nursery_for(target)
        child = self.supervisor.fork(
            name, target, spec, str(result), nursery=nursery, env=self.env, deadline=deadline, task=True
        )
        reader = ProgressReader(result, progress or (lambda line: None))
        try:
            ended = lambda: reader.read_until(child.poll() is not None)  # noqa: E731
            wait(ended, what=name, deadline=deadline, fail=lambda: full(self.folder) or self._broken())
        except WaitTimeout as error:
            raise StepFailed(f"{name}: still running at its deadline.\n{child.tail()}") from error
        finally:
            self.supervisor.stop(child)
        if not result.exists():
            raise StepFailed(f"{name}: {ending(child.poll())} before it had answered.\n{child.tail()}")
        return read_answer(result)

    def step_python(self) -> str:
        """As Backend.step_python: a warm interpreter."""
        return str(self.warmth.nursery().warm_python(self.folder))

    def cause_first(self, error: Exception, others: Sequence[Death] = ()) -> Exception:
        """The error with the death of a process, or a full disk, in front of it; `others` died elsewhere."""
        shared = [death for death in self.warmth.deaths if death.at >= self._began]
        return cause_first(error, [*self.supervisor.deaths, *others, *shared], full(self.folder))
