"""Findings against upstream programs reach a reader: on a run's page, on their own, beside the verdicts of worlds."""

from __future__ import annotations

import json
from pathlib import Path
from xml.sax.saxutils import quoteattr

import pytest

from harness.cli import run_command
from harness.report.record import UpstreamFinding
from harness.report.render import page
from harness.report.upstream import of_properties, properties, write_upstream
from tests.unit import sample_record
from tests.unit.read_page import Page

FINDING = UpstreamFinding(
    program="KServe",
    version="v0.20.0",
    title="a promotion <loses> requests",
    shown="23 of 1396 requests failed",
    instead="all traffic goes to the canary by a route of ours first",
)
WORDS = ("KServe", "v0.20.0", "a promotion <loses> requests", "23 of 1396 requests failed", "a route of ours first")


def test_the_page_of_a_run_names_what_it_found() -> None:
    """The program, its version, the fault with what was seen, and what is done instead."""
    found = Page(page(sample_record.passed().model_copy(update={"upstream": [FINDING]})))
    assert "upstream" in found.all("id")
    assert [word for word in WORDS if word not in found.text] == []
    assert found.open == []


def test_a_page_of_their_own_is_kept_with_the_same_as_json(tmp_path: Path) -> None:
    """It is whole, and loads nothing."""
    found = Page(write_upstream({"t.py::a": [FINDING], "t.py::b": [FINDING]}, tmp_path).read_text(encoding="utf-8"))
    assert [word for word in WORDS if word not in found.text] == []
    assert "2 of 2 tests" in found.text
    assert found.all("src") == []
    assert found.open == []
    assert json.loads((tmp_path / "upstream.json").read_text()) == {
        test: [FINDING.model_dump()] for test in ("t.py::a", "t.py::b")
    }


def test_a_finding_is_the_same_after_its_way_through_pytests_reports() -> None:
    assert of_properties([("other", 1), *properties([FINDING])]) == [FINDING]


def test_they_are_shown_beside_the_verdicts_of_the_worlds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From junit.xml, where pytest writes a test's properties."""
    ((name, text),) = properties([FINDING])
    told = f"<properties><property name={quoteattr(name)} value={quoteattr(text)}/></properties>"
    file = tmp_path / "kind.xml"
    file.write_text(
        f'<testsuites><testsuite><testcase classname="t" name="a">{told}</testcase></testsuite></testsuites>'
    )
    assert run_command(["equivalence", "--reports", str(tmp_path / "reports"), "--junit", f"kind={file}"]) == 0
    assert "KServe v0.20.0: a promotion <loses> requests: 23 of 1396 requests failed" in capsys.readouterr().out
    (folder,) = (tmp_path / "reports").iterdir()
    shown = Page((folder / "index.html").read_text(encoding="utf-8"))
    assert [word for word in WORDS if word not in shown.text] == []
