"""Fixtures for the scenarios and the contract tests, and what a whole session needs."""

import signal

import pytest

pytest_plugins = ["fixtures.datasets"]


def pytest_configure() -> None:
    """A job in the background is started with SIGINT ignored, and its children are too; tests interrupt theirs."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """The second half of a tox run, `-m alone`, has nothing to do where a selection has no such test."""
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and session.config.getoption("markexpr") == "alone":
        session.exitstatus = pytest.ExitCode.OK
