"""junit.xml: what a CI system shows of a run."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.report.junit import junit, write_junit
from harness.report.record import RunRecord, Status
from tests.unit import sample_record


def suite(record: RunRecord) -> ElementTree.Element:
    found = ElementTree.fromstring(junit(record)).find("testsuite")
    assert found is not None
    return found


def test_a_passed_run_has_one_green_case_for_each_step(tmp_path: Path) -> None:
    record = sample_record.passed()

    path = write_junit(record, tmp_path)
    cases = ElementTree.parse(path).findall(".//testcase")

    assert path.name == "junit.xml"
    assert [case.get("name") for case in cases] == [f"{step.name}: {step.title}" for step in record.steps]
    assert not ElementTree.parse(path).findall(".//failure")
    assert suite(record).attrib.items() >= {"tests": "8", "failures": "0", "errors": "0", "time": "18.420"}.items()


def test_a_failure_carries_its_error_and_hint() -> None:
    failure = suite(sample_record.rolled_back()).find("testcase/failure")

    assert failure is not None
    assert "rolled back at 10 %" in str(failure.get("message"))
    assert "Hint: Read logs/high-utiliser-v2.log" in str(failure.text)


def test_a_skip_carries_its_reason() -> None:
    skipped = suite(sample_record.with_skips()).find("testcase/skipped")

    assert skipped is not None
    assert "apt-get install prometheus" in str(skipped.get("message"))


def test_an_interrupted_run_is_an_error() -> None:
    found = suite(sample_record.interrupted())

    assert found.get("errors") == "1"
    assert found.find("testcase/error") is not None


@pytest.mark.parametrize("status", [Status.FAILED, Status.INTERRUPTED])
def test_a_run_that_did_not_pass_is_never_green(status: Status) -> None:
    """Even if no step says so, such as when the platform died between two steps."""
    record = sample_record.passed()
    record.status = status
    record.decided_by = "the gateway died"

    error = suite(record).find("testcase/error")

    assert error is not None
    assert error.get("message") == "the gateway died"


def test_what_xml_cannot_hold_and_secrets_are_left_out() -> None:
    record = sample_record.rolled_back()
    failed = next(step for step in record.steps if step.status is Status.FAILED)
    failed.error = "\x1b[31mred\x00 & <b> token=abcdef"

    failure = suite(record).find("testcase/failure")

    assert failure is not None
    assert failure.get("message") == "[31mred & <b> token=***"
