"""What a run's record says of how it ended."""

from __future__ import annotations

from pathlib import Path

from harness.errors import PlatformError
from harness.report.record import Status
from harness.run import Run


def test_a_run_that_fails_at_its_end_does_not_keep_the_words_of_its_success(tmp_path: Path) -> None:
    run = Run(tmp_path, title="a release", backend="embedded")
    run.record.decided_by = "v2 was promoted"
    record = run.finish(PlatformError("envoy could not be stopped", hint="rehearse gc"))
    assert (record.status, record.decided_by, record.hint) == (
        Status.FAILED,
        "envoy could not be stopped",
        "rehearse gc",
    )
