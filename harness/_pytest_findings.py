"""Findings against upstream programs: they outlive the run folders of tests that passed, which are deleted.

A test's findings are its properties, so that they come from pytest-xdist's workers too and are in junit.xml.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness.report.record import RunRecord, UpstreamFinding

RECORD: pytest.StashKey[RunRecord] = pytest.StashKey()
"""Of a test that has a platform: the record of its run."""


def note(item: pytest.Item) -> None:
    """Make what a test's run has found its properties; called once, after the test itself."""
    from harness.report.upstream import properties

    if RECORD in item.stash:
        item.user_properties += properties(item.stash[RECORD].upstream)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name every finding, and keep a page with all of them; a worker of pytest-xdist leaves that to who started it."""
    found = {} if hasattr(config, "workerinput") else _gathered(terminalreporter)
    if not found:
        return
    from harness.report.upstream import lines, write_upstream
    from harness.runtime.paths import new_run_folder, runs_home

    page = write_upstream(found, new_run_folder(runs_home(config.getoption("--reports")), "upstream"))
    terminalreporter.section("findings against upstream programs")
    for line in lines(found):
        terminalreporter.write_line(line)
    terminalreporter.write_line(f"report: {page}")


def _gathered(reporter: pytest.TerminalReporter) -> dict[str, list[UpstreamFinding]]:
    """Test -> its findings; a test that failed for another reason may have found something too."""
    from harness.report.upstream import of_properties

    told = [report for outcome in ("passed", "failed") for report in reporter.stats.get(outcome, ())]
    of_calls = {report.nodeid: of_properties(report.user_properties) for report in told if report.when == "call"}
    return {test: found for test, found in of_calls.items() if found}
