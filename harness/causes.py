"""What brought a run down, said before what followed from it: a full disk, or a process that died."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence

from harness.errors import PlatformError, RehearsalError, UsageError
from harness.runtime.space import RUN_MB
from harness.runtime.supervisor import Death

HINT = f"a run needs {RUN_MB} MB: free some space, or name another folder with --reports."


def cause_first(error: Exception, deaths: Sequence[Death], full: str) -> Exception:
    """The error with its cause in front, if one is known that it does not name; else the error itself.

    `full` says which disk is full, empty if none is. A user's mistake stays what it is unless the disk is full.
    """
    if full or any(getattr(each, "errno", None) == errno.ENOSPC for each in _chain(error)):
        told = full or "a disk is full"
        words = _words(error)
        return PlatformError(words if told in words else f"{told}; then {words}", hint=HINT)
    death = first(deaths)
    if death is None or isinstance(error, UsageError) or death.words in str(error):
        return error
    told = f"{death.words}; then {_words(error)}"
    if death.tail not in told:
        told = f"{told}\n{death.tail}"
    if isinstance(error, RehearsalError):
        return type(error)(told, hint=error.hint or f"see {death.log}")
    return PlatformError(told, hint=f"see {death.log}")


def first(deaths: Sequence[Death]) -> Death | None:
    """The death that the others follow from: a nursery takes its forks along, whichever is noticed first."""
    return min(deaths, key=lambda death: (not death.nursery, death.at), default=None)


def _words(error: Exception) -> str:
    return error.message if isinstance(error, RehearsalError) else f"{type(error).__name__}: {error}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
