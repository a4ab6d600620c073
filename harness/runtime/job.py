"""Jobs: work in a process of its own that is asked with JSON and answers with JSON, errors included.

A job is a function `main(spec_json, result_path)` that calls `answer(result_path, body)`. While it runs it may append
JSON lines to `<result_path>.progress`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import errors
from harness.errors import RehearsalError


def answer(result_path: str, body: Callable[[], dict[str, Any]]) -> None:
    """Write what `body()` returns, or the RehearsalError that it raises; beside the target and renamed."""
    try:
        result = body()
    except RehearsalError as error:
        result = {"error": {"type": type(error).__name__, "message": error.message, "hint": error.hint}}
    target = Path(result_path)
    beside = target.with_name(f".{target.name}.tmp")
    beside.write_text(json.dumps(result), encoding="utf-8")
    beside.replace(target)


def read_answer(result_path: Path) -> dict[str, Any]:
    """What a job answered; raises the error that it met, of the type that it was."""
    result: dict[str, Any] = json.loads(result_path.read_text(encoding="utf-8"))
    if failure := result.get("error"):
        kind = getattr(errors, failure["type"], errors.StepFailed)
        raise kind(failure["message"], hint=failure["hint"])
    return result


class ProgressReader:
    """Passes on the JSON lines that a job has appended since the last call."""

    def __init__(self, result_path: Path, listener: Callable[[dict[str, Any]], None]) -> None:
        self._path = Path(f"{result_path}.progress")
        self._listener = listener
        self._position = 0

    def read_until(self, ended: bool) -> bool:
        """Pass on what is there; `ended` is handed back, so that nothing written before the end is missed."""
        if self._path.exists():
            self._read()
        return ended

    def _read(self) -> None:
        with self._path.open(encoding="utf-8") as file:
            file.seek(self._position)
            while (line := file.readline()).endswith("\n"):
                self._position = file.tell()
                self._listener(json.loads(line))
