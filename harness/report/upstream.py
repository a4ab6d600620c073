"""What tests found against programs that we did not write: gathered over a session, kept as a page and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from harness.report.record import UpstreamFinding
from harness.report.render import environment
from harness.report.store import write_text
from harness.runtime.redact import redact

PROPERTY = "upstream"
"""The name of a test's property, in pytest's reports and in junit.xml, that holds one finding as JSON."""


def properties(found: Iterable[UpstreamFinding]) -> list[tuple[str, str]]:
    """The findings of a test as its properties."""
    return [(PROPERTY, finding.model_dump_json()) for finding in found]


def of_properties(given: Iterable[tuple[str, object]]) -> list[UpstreamFinding]:
    """The findings among a test's properties."""
    return [UpstreamFinding.model_validate_json(str(text)) for name, text in given if name == PROPERTY]


def write_upstream(found: Mapping[str, Sequence[UpstreamFinding]], folder: Path) -> Path:
    """Write folder/upstream.json and folder/index.html of test -> its findings; returns the page's path."""
    clean = redact({test: [finding.model_dump() for finding in those] for test, those in found.items()})
    write_text(folder / "upstream.json", json.dumps(clean, indent=1, ensure_ascii=False) + "\n")
    findings = [finding for those in clean.values() for finding in those]
    page = environment().get_template("upstream.html").render(run={"upstream": findings}, tests=len(clean))
    return write_text(folder / "index.html", page)


def lines(found: Mapping[str, Sequence[UpstreamFinding]]) -> Iterator[str]:
    """A line for each finding, for a terminal."""
    for those in found.values():
        for finding in those:
            yield f"{finding.program} {finding.version}: {finding.title}: {finding.shown}"
