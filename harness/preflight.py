"""Finds a user's mistakes before a platform is started or a run folder made, in a process of its own.

The user's module is imported there, so that it can neither hang nor end this process, and pandas stays out of it.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import closing
from pathlib import Path

from harness.errors import TrainingFunctionError
from harness.lifecycle.checks import as_table
from harness.lifecycle.preflight import PreflightSpec
from harness.plan import Plan
from harness.runtime.events import EventLog
from harness.runtime.job import read_answer
from harness.runtime.supervisor import Supervisor

GRACE_S = 10.0
"""Beyond the user's deadline: reading the data file, and the interpreter's start."""


def check(plan: Plan) -> None:
    """Raises UsageError, one line, for what is wrong with the data file, its columns or the training function."""
    spec = PreflightSpec(
        dataset=plan.dataset,
        condition=plan.shifted,
        trainings={each.name: (each.estimator, each.params) for each in (plan.baseline, plan.candidate)},
        deadline_s=plan.deadline_s,
        source_root=plan.source_root,
        checks=[as_table(each) for each in plan.checks],
    )
    with tempfile.TemporaryDirectory(prefix="rehearsal-preflight-") as scratch:
        result, events = Path(scratch, "result.json"), EventLog(Path(scratch, "events.jsonl"))
        argv = [sys.executable, "-P", "-m", "harness.lifecycle.preflight", spec.to_json(), str(result)]
        with closing(events), Supervisor(Path(scratch), events, run_id="preflight") as supervisor:
            child = supervisor.spawn("preflight", argv, task=True)
            code = child.wait(plan.deadline_s + GRACE_S)
        if not result.is_file():
            raise TrainingFunctionError(_without_answer(plan, code, child.tail(1)))
        read_answer(result)


def _without_answer(plan: Plan, code: int | None, last_words: str) -> str:
    how = f"did not end within {plan.deadline_s:g} s" if code is None else f"ended the process with exit code {code}"
    return f"importing {plan.baseline.estimator.partition(':')[0]} {how}; last output: {last_words or 'none'}"
