"""What a rollout leaves in the run folder, so that another process can approve it or go on with it.

rollouts/<n>.json holds the state, <n>.plan.json the document from before the rollout, and <n>.approval.json what a
person said; rollouts/<namespace>.<service>.lock is held while a rollout of that service runs.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.errors import UsageError
from harness.lifecycle.rollout import Approval, Phase, State
from harness.report.store import write_text


@dataclass(frozen=True)
class RolloutFiles:
    """The files of one rollout; `path` is that of its state."""

    path: Path

    @classmethod
    def new(cls, run_folder: Path, before: dict[str, Any]) -> RolloutFiles:
        """The files of the next rollout of a run; `before` is the service's document."""
        folder = run_folder / "rollouts"
        folder.mkdir(parents=True, exist_ok=True)
        for number in count(1):
            files = cls(folder / f"{number}.json")
            try:
                with files._plan.open("x", encoding="utf-8") as plan:
                    json.dump({"before": before}, plan)
            except FileExistsError:
                continue
            break
        return files

    @property
    def number(self) -> int:
        """Which of the run's rollouts it is."""
        return int(self.path.stem)

    def before(self) -> dict[str, Any]:
        """The service's document from before the rollout; UsageError if there is none."""
        try:
            found: dict[str, Any] = json.loads(self._plan.read_text(encoding="utf-8"))["before"]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise UsageError(f"{self._plan}: not the plan of a rollout: {_first_line(error)}") from None
        return found

    def save(self, state: State) -> None:
        """Keep the state; raises OSError."""
        write_text(self.path, state.to_json())

    def load(self) -> State:
        """The last state; UsageError if there is none."""
        try:
            return State.from_json(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"{self.path}: not the state of a rollout: {_first_line(error)}") from None

    def interrupted(self) -> None:
        """Put the state aside: the baseline has the traffic back, and nothing goes on from here."""
        if self.path.exists():
            self.path.replace(self.path.with_suffix(".interrupted.json"))

    def say(self, approval: Approval) -> None:
        """Answer the manual gate that is open."""
        write_text(self._approval, json.dumps(asdict(approval)))

    def said(self) -> Approval | None:
        """What a person said last, if anything; it may be about an earlier gate."""
        try:
            return Approval(**json.loads(self._approval.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    @property
    def _plan(self) -> Path:
        return self.path.with_suffix(".plan.json")

    @property
    def _approval(self) -> Path:
        return self.path.with_suffix(".approval.json")


@contextmanager
def the_only_rollout(run_folder: Path, service: str) -> Iterator[None]:
    """Refuses a second rollout of a service; a process that dies gives its place free."""
    folder = run_folder / "rollouts"
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / f"{service.replace('/', '.')}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"service {service}: a rollout is under way, and there is one at a time") from None
        yield
    finally:
        os.close(handle)


def _first_line(error: Exception) -> str:
    """What is wrong in one line: pydantic lists all that is, with links."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
    return str(error)


def gates(run_folder: Path) -> Iterator[tuple[RolloutFiles, State]]:
    """The rollouts of a run that wait for a person."""
    for path in sorted((run_folder / "rollouts").glob("[0-9]*.json")):
        if path.stem.isdecimal():
            files = RolloutFiles(path)
            state = files.load()
            if state.phase is Phase.GATED and state.approvals[-1].answered_at is None:
                yield files, state
