"""junit.xml: one test case for each step of a run, for the CI systems that read it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

from harness.report.cause import likely, next_step
from harness.report.record import RunRecord, Status, Step
from harness.report.store import write_text
from harness.runtime.redact import redact_text

# Characters that XML 1.0 cannot hold at all, such as a terminal's colour codes in a log's tail.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_junit(record: RunRecord, folder: Path) -> Path:
    """Write folder/junit.xml; returns its path."""
    return write_text(folder / "junit.xml", junit(record))


def junit(record: RunRecord) -> str:
    """The run as one test suite: a failure carries the error and the hint, a skip its reason."""
    suite = ElementTree.Element("testsuite", _suite(record))
    for step in record.steps:
        _case(suite, step, record)
    if record.status is not Status.PASSED and not any(_broken(step) for step in record.steps):
        _verdict(suite, record)
        suite.set("tests", str(len(suite)))
        suite.set("errors", "1")
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _suite(record: RunRecord) -> dict[str, str]:
    states = [step.status for step in record.steps]
    return {
        "name": _clean(f"rehearsal {record.run_id}"),
        "tests": str(len(states)),
        "failures": str(states.count(Status.FAILED)),
        "errors": str(states.count(Status.INTERRUPTED) + states.count(Status.RUNNING)),
        "skipped": str(states.count(Status.SKIPPED)),
        "time": f"{record.duration_s:.3f}",
        "timestamp": datetime.fromtimestamp(record.started_at, UTC).isoformat(timespec="seconds"),
    }


def _case(suite: ElementTree.Element, step: Step, record: RunRecord) -> None:
    case = ElementTree.SubElement(
        suite,
        "testcase",
        {"classname": "rehearsal", "name": _clean(f"{step.name}: {step.title}"), "time": f"{step.duration_s:.3f}"},
    )
    if step.status is Status.SKIPPED:
        reasons = [skip.reason for skip in record.skips if skip.step == step.name] or [step.error or step.detail]
        ElementTree.SubElement(case, "skipped", {"message": _clean("; ".join(reasons))})
    elif _broken(step):
        tag = "failure" if step.status is Status.FAILED else "error"
        message = step.error or f"the step was {step.status.value}"
        broken = ElementTree.SubElement(case, tag, {"message": _clean(message), "type": step.status.value})
        broken.text = _told(record, message, step.hint)
    if step.detail:
        ElementTree.SubElement(case, "system-out").text = _clean(step.detail)


def _verdict(suite: ElementTree.Element, record: RunRecord) -> None:
    """A run that did not pass although no step failed must not look green to a CI system."""
    case = ElementTree.SubElement(suite, "testcase", {"classname": "rehearsal", "name": "verdict", "time": "0"})
    message = record.decided_by or f"the run ended as {record.status.value}"
    error = ElementTree.SubElement(case, "error", {"message": _clean(message), "type": record.status.value})
    error.text = _told(record, message, record.hint)


def _told(record: RunRecord, message: str, hint: str) -> str:
    """The message, the most likely cause with what to do about it, and the hint."""
    found = (("Most likely", likely(record)), ("Next", next_step(record)), ("Hint", hint))
    return _clean("\n".join([message, *(f"{what}: {text}" for what, text in found if text)]))


def _broken(step: Step) -> bool:
    return step.status in (Status.FAILED, Status.INTERRUPTED, Status.RUNNING)


def _clean(text: str) -> str:
    return _NOT_XML.sub("", redact_text(text))
