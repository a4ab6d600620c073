"""The audit of a night: what counts as judged, and that an index without a database is not green."""

from __future__ import annotations

import json
from typing import Any

import pytest

from harness.nightly import audit
from harness.nightly.audit import findings, unknown

VULNERABLE = {"name": "jinja2", "version": "2.10", "vulns": [{"id": "PYSEC-2019-217", "fix_versions": ["2.10.1"]}]}
SOUND = {"name": "numpy", "version": "2.0", "vulns": []}
SKIPPED = {"name": "kfp", "skip_reason": "Dependency not found on PyPI and could not be audited: kfp (2.17.0)"}


def report(*packages: dict[str, Any]) -> str:
    return json.dumps({"dependencies": list(packages), "fixes": []})


def test_all_that_was_judged_and_is_sound_passes() -> None:
    found = findings(json.loads(report(SOUND, {"name": "rehearsal", "skip_reason": "distribution marked as editable"})))
    assert (found.passed, found.judged, found.unjudged) == (True, 1, [])


@pytest.mark.parametrize("wrong", [VULNERABLE, SKIPPED], ids=["vulnerable", "unjudged"])
def test_what_is_vulnerable_and_what_could_not_be_judged_fail(wrong: dict[str, Any]) -> None:
    """pip-audit itself ends with 0 for the latter."""
    assert not findings(json.loads(report(SOUND, wrong))).passed


def test_nothing_at_all_is_no_pass() -> None:
    assert not findings({"dependencies": []}).passed


def test_a_vulnerability_is_named_with_what_mends_it() -> None:
    assert findings(json.loads(report(VULNERABLE))).vulnerable == [
        "jinja2 2.10: PYSEC-2019-217, mended in 2.10.1"
    ]  # fmt: skip


def test_a_database_that_knows_the_vulnerable_version_is_one() -> None:
    assert unknown(report(VULNERABLE)) == ""


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (report({**VULNERABLE, "vulns": []}), "nothing is known against it"),
        (report({"name": "jinja2", "skip_reason": "not found on PyPI"}), "jinja2: not found on PyPI"),
        ("Traceback\nrequests.exceptions.ConnectionError: no route", "requests.exceptions.ConnectionError: no route"),
        ("", "no answer"),
    ],
    ids=["a mirror without the field", "an index without the pages", "no network", "silence"],
)
def test_without_a_database_the_audit_is_missing_with_the_reason(answer: str, reason: str) -> None:
    """Of a version that has been vulnerable since 2019 nothing is known: then nothing is known of any."""
    told = unknown(answer)
    assert told.startswith("no vulnerability database can be reached: of jinja2 2.10, ")
    assert told.endswith(f"pip-audit says: {reason}")


def test_a_machine_without_pip_audit_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert audit.why_missing() == "pip-audit is not installed. Hint: pip install pip-audit"
