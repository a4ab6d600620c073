"""Finds a user's mistakes before a platform is started or a run folder made, in a process of its own.

The user's module is imported there, so that it can neither hang nor end this process, and pandas stays out of it.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from harness.errors import TrainingFunctionError
from harness.lifecycle.preflight import PreflightSpec
from harness.plan import Plan
from harness.runtime.job import read_answer
from harness.runtime.process import launch

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
    )
    with tempfile.TemporaryDirectory(prefix="rehearsal-preflight-") as scratch:
        result, log = Path(scratch, "result.json"), Path(scratch, "preflight.log")
        argv = [sys.executable, "-m", "harness.lifecycle.preflight", spec.to_json(), str(result)]
        child = launch("preflight", argv, log=log, env=_environment())
        try:
            code = child.wait(plan.deadline_s + GRACE_S)
        finally:
            child.stop()
        if not result.is_file():
            raise TrainingFunctionError(_without_answer(plan, code, child.tail(1)))
        read_answer(result)


def _without_answer(plan: Plan, code: int | None, last_words: str) -> str:
    how = f"did not end within {plan.deadline_s:g} s" if code is None else f"ended the process with exit code {code}"
    return f"importing {plan.baseline.estimator.partition(':')[0]} {how}; last output: {last_words or 'none'}"


def _environment() -> dict[str, str]:
    import harness

    root = str(Path(harness.__file__).parent.parent)
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path}
