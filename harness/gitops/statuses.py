"""Commit statuses beside the repository: what a forge keeps in its database is a file of lines here."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.report.record import CommitRecord, CommitStatus

FILE = "statuses.jsonl"


@dataclass(frozen=True)
class Subject:
    """The commit that a status is about, as far as it is known outside of the repository."""

    sha: str
    subject: str = ""
    author: str = ""
    at: float = 0.0


class Statuses:
    """Appends and reads; several processes may, the hook of a push among them."""

    def __init__(self, folder: Path, unix: Callable[[], float] = time.time) -> None:
        self._path = folder / FILE
        self._unix = unix

    def add(self, commit: Subject, context: str, state: str, description: str) -> CommitStatus:
        """Say something of a commit; what was said before stays, and the last of a context counts."""
        status = CommitStatus.model_validate(
            {"context": context, "state": state, "description": description, "at": self._unix()}
        )
        line = json.dumps({"commit": asdict(commit), "status": status.model_dump()}) + "\n"
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            os.write(handle, line.encode())
        finally:
            os.close(handle)
        return status

    def of(self, sha: str) -> dict[str, CommitStatus]:
        """Context -> the last status of a commit."""
        return {status.context: status for commit, status in self._read() if commit.sha == sha}

    def commits(self) -> dict[str, CommitRecord]:
        """Everything that was said, by commit, the first word first; whether one was taken is not known here."""
        found: dict[str, CommitRecord] = {}
        for commit, status in self._read():
            record = found.setdefault(
                commit.sha,
                CommitRecord(sha=commit.sha, subject=commit.subject, author=commit.author, at=commit.at, taken=False),
            )
            record.statuses = [each for each in record.statuses if each.context != status.context] + [status]
        return found

    def _read(self) -> list[tuple[Subject, CommitStatus]]:
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        return list(_parsed(lines))


def _parsed(lines: Iterable[str]) -> Iterator[tuple[Subject, CommitStatus]]:
    """Without what a full disk has cut short: the next word stands on the same line, and is lost with it."""
    for line in lines:
        try:
            each = json.loads(line)
        except ValueError:
            continue
        yield Subject(**each["commit"]), CommitStatus.model_validate(each["status"])
