"""A lock between processes: a file that one of them has at a time, and that goes with what it guards."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from harness.runtime.clock import Deadline
from harness.runtime.wait import wait


@contextmanager
def locked(
    path: Path,
    what: str,
    deadline: Deadline,
    *,
    needed: Callable[[], bool],
    fail: Callable[[], str | None] | None = None,
) -> Iterator[None]:
    """Within it no other process has this file; it stays afterwards as long as it is `needed()`.

    WaitTimeout, which names `what` is waited for, if another process still has it at the deadline; PlatformError when
    `fail()` gives a reason before.
    """
    with wait(lambda: _lock(path), what=what, deadline=deadline, fail=fail):
        try:
            yield
        finally:
            if not needed():
                path.unlink(missing_ok=True)


def _lock(path: Path) -> IO[str] | None:
    """The locked file; None while another process has it."""
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
    except BlockingIOError:
        pass
    file.close()  # or its last user removed it meanwhile: the next try makes it anew
    return None
