"""What every night said of every test and part, one line a night, and which of them cannot be relied on."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.equivalence import Verdict
from harness.errors import UsageError
from harness.report._interval import exact_interval

if TYPE_CHECKING:
    from harness.nightly.night import Result

FILE = "history.jsonl"
LAST = 60
CONFIDENCE = 0.95
FAILURES = 3
_COUNTED = ("passed", "failed")


@dataclass(frozen=True)
class Failure:
    """One time that it failed: when (Unix s), in which night, and with which words."""

    at: float
    night: str
    words: str


@dataclass(frozen=True)
class Case:
    """A test or a part over the nights that ran it: its pass rate with the exact interval, its last failures."""

    name: str
    passed: int
    failed: int
    low: float
    high: float
    newest: str
    failures: tuple[Failure, ...]

    @property
    def rate(self) -> float:
        return self.passed / (self.passed + self.failed)

    @property
    def flaky(self) -> bool:
        """Whether it has come out both ways."""
        return bool(self.passed and self.failed)


def line(night: str, at: float, results: Sequence[Result]) -> dict[str, Any]:
    """One night: how each part and each test came out, with the words of those that failed."""
    outcomes = {result.name: (result.came.value, result.words) for result in results}
    for result in results:
        outcomes |= {
            f"{result.name}: {case}": (outcome.verdict.value, outcome.words) for case, outcome in result.cases.items()
        }
    return {
        "night": night,
        "at": at,
        "cases": {name: came for name, (came, _) in outcomes.items()},
        "words": {name: words for name, (came, words) in outcomes.items() if came == Verdict.FAILED.value},
    }


def append(file: Path, entry: dict[str, Any]) -> None:
    """Add a night in one write: a night that is cut short leaves no half of a line between others."""
    file.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(entry, ensure_ascii=False) + "\n"
    with file.open("ab") as opened:
        opened.write((b"\n" if _torn(file) else b"") + text.encode())
        opened.flush()
        os.fsync(opened.fileno())


def read(file: Path) -> list[dict[str, Any]]:
    """The nights, the oldest first; a line that was cut short is left out. UsageError: it cannot be read at all."""
    if not file.is_file():
        return []
    nights = []
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
    for text in lines:
        try:
            night = json.loads(text)
        except ValueError:
            continue
        if isinstance(night, dict) and isinstance(night.get("cases"), dict):
            nights.append(night)
    return sorted(nights, key=lambda night: float(night.get("at", 0)))


def cases(nights: Sequence[dict[str, Any]], last: int = LAST) -> list[Case]:
    """Every case of the last nights that came out passed or failed at least once, the least reliable first."""
    seen: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for night in nights[-last:]:
        for name, came in night["cases"].items():
            if came in _COUNTED:
                seen.setdefault(name, []).append((came, night))
    found = [_case(name, times) for name, times in seen.items()]
    return sorted(found, key=lambda case: (case.rate, -case.failed, case.name))


def _case(name: str, times: Sequence[tuple[str, dict[str, Any]]]) -> Case:
    passed = sum(came == "passed" for came, _ in times)
    failures = [
        Failure(float(night.get("at", 0)), str(night.get("night", "")), str(night.get("words", {}).get(name, "")))
        for came, night in times
        if came == "failed"
    ]
    low, high = exact_interval(passed, len(times), CONFIDENCE)
    return Case(name, passed, len(failures), low, high, times[-1][0], tuple(failures[::-1][:FAILURES]))


def _torn(file: Path) -> bool:
    """Whether the file's last line has no end."""
    if not file.stat().st_size:
        return False
    with file.open("rb") as opened:
        opened.seek(-1, os.SEEK_END)
        return opened.read(1) != b"\n"
