"""`rehearse approve`: answer the manual gate of a rollout that waits for a person."""

from __future__ import annotations

import getpass
from pathlib import Path

from harness._cli_up import find_running
from harness._rollout_files import gates
from harness.errors import UsageError
from harness.lifecycle.rollout import Approval


def answer(run: str | None, *, refuse: bool, by: str | None, rollout: int | None) -> str:
    """Approve or refuse the gate that is open in a running run; returns what was done, in a line."""
    running = find_running("approve", run)
    waiting = [gate for gate in gates(Path(running.folder)) if rollout in (None, gate[0].number)]
    if not waiting:
        raise UsageError(f"approve: no rollout of {running.run_id} waits for a person")
    if len(waiting) > 1:
        numbers = ", ".join(str(files.number) for files, _ in waiting)
        raise UsageError(
            f"approve: several rollouts of {running.run_id} wait: {numbers}", hint="Name one: --rollout N."
        )
    ((files, state),) = waiting
    person = by or getpass.getuser()
    files.say(Approval(state.percent, approved=not refuse, by=person))
    verb = "refused" if refuse else "approved"
    return f"{verb} {state.names[1]} at {state.percent} % as {person} ({running.run_id})"
