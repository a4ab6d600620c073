"""Fixtures for the scenarios and the contract tests."""

import pytest

pytest_plugins = ["fixtures.datasets"]


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """The second half of a tox run, `-m alone`, has nothing to do where a selection has no such test."""
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and session.config.getoption("markexpr") == "alone":
        session.exitstatus = pytest.ExitCode.OK
