"""Who sends the requests of a load: Locust in processes of this machine; harness.load.pods has Pods of a cluster."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from harness.errors import LoadFailed
from harness.load import audit
from harness.load.records import LoadFiles, read_json, write_json
from harness.load.spec import DRAIN_S, KEY_VARIABLE, LoadSpec
from harness.runtime.clock import Deadline
from harness.runtime.process import Child, ending
from harness.runtime.wait import wait

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
GO_IN_S = 0.1


class Spawner(Protocol):
    """The supervisor, as far as a load needs it."""

    def spawn(self, name: str, argv: Sequence[str], *, env: Mapping[str, str] | None = None) -> Child: ...

    def stop(self, child: Child, grace_s: float = 5.0) -> int | None: ...


class Crew(Protocol):
    """The generators of one load; spec.json is in the load's folder before they start, their parts when they ended."""

    def start(self, deadline: Deadline) -> None:
        """Start them and wait until a request of each has ended; after an error nothing is left running."""
        ...

    def ended(self) -> bool:
        """Whether all have sent what they had to; LoadFailed if one failed."""
        ...

    def stop(self, deadline: Deadline) -> None:
        """End them; LoadFailed if one had failed, with the cause."""
        ...

    def readings(self) -> list[audit.Reading | None]:
        """Each one's last audit of itself; None for one that has written none yet."""
        ...


class Processes:
    """Locust in processes of this machine, one a share."""

    def __init__(self, spec: LoadSpec, files: LoadFiles, spawner: Spawner) -> None:
        self._spec, self._files, self.spawner = spec, files, spawner
        self.children: list[Child] = []

    def start(self, deadline: Deadline) -> None:
        try:
            for share in range(self._spec.processes):
                env = {"REHEARSAL_LOAD": f"{self._files.spec}:{share}", "PYTHONPATH": _with_this_package()}
                if self._spec.key is not None:
                    env[KEY_VARIABLE] = ": ".join(self._spec.key)
                self.children.append(self.spawner.spawn(self._name(share), self._argv(), env=env))
            if self._spec.processes > 1:
                self._go_together(deadline)
            late = Deadline(deadline.at + self._spec.first_s, deadline.clock)
            for share, child in enumerate(self.children):
                what = f"load {self._spec.name}: first answer from {self._spec.url}"
                wait(lambda share=share: self._began(share), what=what, deadline=late, child=child)  # type: ignore[misc]
        except BaseException:
            self._stop_children()
            raise

    def ended(self) -> bool:
        for share, child in enumerate(self.children):
            if (code := child.poll()) is not None and not self._files.finished(share).exists():
                raise LoadFailed(f"load {self._spec.name}: {self._ending(share, code)}")
        return all(self._files.finished(share).exists() for share in range(self._spec.processes))

    def stop(self, deadline: Deadline) -> None:
        for share, code in enumerate(self._stop_children()):
            if code != 0 or not self._files.finished(share).exists():
                raise LoadFailed(f"load {self._spec.name}: {self._ending(share, code)}")

    def readings(self) -> list[audit.Reading | None]:
        return audit.read([self._files.audit(share) for share in range(self._spec.processes)])

    def _began(self, share: int) -> bool:
        """Whether a request of it has ended; a short shape may have none for this process."""
        return self._files.started(share).exists() or self._files.finished(share).exists()

    def _name(self, share: int) -> str:
        return f"load-{self._spec.name}" + (f"-{share + 1}" if self._spec.processes > 1 else "")

    def _go_together(self, deadline: Deadline) -> None:
        """Several processes have one origin; with it their requests are evenly spaced, and times can be compared."""
        for share, child in enumerate(self.children):
            wait(self._files.ready(share).exists, what=f"{child.name} ready", deadline=deadline, child=child)
        write_json(self._files.go, {"origin": time.monotonic() + GO_IN_S, "started_at": time.time() + GO_IN_S})

    def _stop_children(self) -> list[int | None]:
        with ThreadPoolExecutor(max(1, len(self.children))) as pool:
            return list(pool.map(lambda child: self.spawner.stop(child, grace_s=DRAIN_S + 5.0), self.children))

    def _ending(self, share: int, code: int | None) -> str:
        told = self._files.failed(share)
        cause = f"; its schedule was ended by {read_json(told)['error']}" if told.exists() else ""
        return f"Locust {ending(code)}{cause}.\n{self.children[share].tail()}"

    def _argv(self) -> list[str]:
        return [
            *(sys.executable, "-P", "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--only-summary"),
            *("--users", "1", "--spawn-rate", "1", "--host", self._spec.url),
            *("--run-time", f"{self._spec.run_time_s}s", "--stop-timeout", f"{DRAIN_S + 2:g}"),
            *("--exit-code-on-error", "0"),
        ]


def _with_this_package() -> str:
    """A PYTHONPATH on which Locust finds this very `harness`, installed or not."""
    here = str(Path(__file__).parents[2])
    return os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
