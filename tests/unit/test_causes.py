"""The cause before its consequences, and a user's mistake left alone."""

from __future__ import annotations

import errno
from pathlib import Path

from harness.causes import HINT, cause_first
from harness.errors import DataError, LoadFailed, PlatformError
from harness.runtime.supervisor import Death

FULL = "the disk of /run is full (0.0 MB left)"
LOST = LoadFailed("canary: 3 requests were lost", hint="see the ledger")


def death(name: str, code: int = -9, at: float = 1.0, nursery: bool = False) -> Death:
    return Death(name, code, at, Path(f"logs/{name}.log"), f"the end of {name}'s log", nursery)


def test_a_death_is_told_before_what_followed_from_it() -> None:
    """The error keeps its class and its hint; the log's tail comes last."""
    told = cause_first(LOST, [death("envoy")], "")
    assert isinstance(told, LoadFailed)
    assert told.message == "envoy was killed by signal 9; then canary: 3 requests were lost\nthe end of envoy's log"
    assert told.hint == "see the ledger"


def test_of_several_deaths_the_nurserys_is_the_cause_else_the_first() -> None:
    """A nursery takes its forks along, whichever end is noticed first."""
    deaths = [death("mlflow", at=1.0), death("nursery", at=1.1, nursery=True)]
    assert str(cause_first(LOST, deaths, "")).startswith("nursery was killed")
    assert str(cause_first(LOST, [*deaths[:1], death("envoy", code=1, at=0.5)], "")).startswith("envoy ended with exit")


def test_an_error_that_names_the_death_is_left_as_it_is() -> None:
    """Nothing is said twice."""
    error = PlatformError("gateway: envoy was killed by signal 9.")
    assert cause_first(error, [death("envoy")], "") is error


def test_a_users_mistake_is_not_blamed_on_a_process() -> None:
    """It keeps its exit code, too."""
    error = DataError("no column 'x'")
    assert cause_first(error, [death("envoy")], "") is error


def test_a_full_disk_is_the_cause_of_whatever_happened() -> None:
    """Also where only the error itself knows it: on another disk than the run folder's."""
    told = cause_first(LOST, [death("envoy")], FULL)
    assert str(told) == f"{FULL}; then canary: 3 requests were lost Hint: {HINT}"
    elsewhere = OSError(errno.ENOSPC, "No space left on device", "/tmp/x")
    assert str(cause_first(elsewhere, [], "")).startswith("a disk is full; then OSError: ")
    assert str(cause_first(PlatformError(f"gate: {FULL}"), [], FULL)) == f"gate: {FULL} Hint: {HINT}"


def test_a_defect_after_a_death_is_told_in_one_line_too() -> None:
    """A connection that broke because its server died is no defect of ours."""
    told = cause_first(ConnectionError("refused"), [death("mlflow")], "")
    assert isinstance(told, PlatformError)
    assert told.message.startswith("mlflow was killed by signal 9; then ConnectionError: refused")
