"""Model cards: everything on them comes from the record of a run, and nothing of it is read as markup."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.report._card_view import card_of
from harness.report.card import write_card
from harness.report.record import CheckResult, ChecksRecord, RunRecord
from harness.report.render import card_file
from harness.report.store import write_record
from tests.unit import sample_record
from tests.unit.read_page import Page


def checked(*passed: bool | None, name: str = "served as trained") -> RunRecord:
    """A run in which one check was made several times."""
    record = sample_record.passed()
    record.checks = [
        ChecksRecord(
            model="high-utiliser",
            version=2,
            results=[CheckResult(name=name, kind="skew", passed=each, observed=f"try {at}", required="none")],
        )
        for at, each in enumerate(passed)
    ]
    return record


def test_a_card_has_what_a_reader_of_the_version_needs(tmp_path: Path) -> None:
    """Use, data, metrics with intervals, checks, gate, limitations, parameters and lineage; as page and as Markdown."""
    record = sample_record.passed()
    record.models[1].intervals = {"roc_auc": (0.69, 0.73)}
    record.models[1].data = {"source": "rand-hie", "licence": "public domain", "threshold": None}
    record.models[1].pipeline = record.pipelines[1].name
    page, text = (path.read_text("utf-8") for path in write_card(record, tmp_path))
    shown = Page(page).text.replace("\u202f", " ")
    for each in ("public domain", "0.690 to 0.730", "more diseases do not lower the risk", "learning_rate",
                 "git 9a2d052", record.pipelines[1].compiled, "Decisions about a person."):  # fmt: skip
        assert each in shown
        assert each.replace("_", "\\_") in text
    assert "positive from" not in shown, "what is not set is not shown"


def test_text_of_others_is_no_markup(tmp_path: Path) -> None:
    """A limitation with a pipe stays in its line, a tag is shown as it was typed."""
    record = sample_record.passed()
    record.cards[0].limitations = ["a | b\n# c", "<script>alert(1)</script>"]
    page, text = (path.read_text("utf-8") for path in write_card(record, tmp_path))
    assert "<script>" not in page + text
    assert "- a \\| b # c" in text.splitlines()


def test_the_last_judgement_of_a_check_counts_and_no_judgement_does_not_undo_one() -> None:
    """A check that is made again without a service has nothing to say."""
    assert [each.observed for each in card_of(checked(False, True)).results] == ["try 1"]
    assert [each.observed for each in card_of(checked(True, None)).results] == ["try 0"]
    assert [each.observed for each in card_of(checked(None, None)).results] == ["try 1"]


def test_what_went_wrong_is_a_limitation() -> None:
    """Nobody has to remember to write it down."""
    told = " ".join(card_of(checked(False)).limitations)
    assert "“served as trained” failed: try 0." in told
    assert "could not be judged" in " ".join(card_of(checked(None)).limitations)
    record = checked()
    record.gates[0].passed = False
    assert {"The promotion gate refused it.", "No behavioural check was made in this run."} <= set(
        card_of(record).limitations
    )
    record.gates = []
    assert "It was not held against the promotion gate in this run." in card_of(record).limitations


def test_the_champion_is_meant_unless_a_version_is_named() -> None:
    """A version that is not there is named with those that are."""
    record = sample_record.passed()
    assert card_of(record).model.version == 2
    assert card_of(record, version=1).model.version == 1
    with pytest.raises(UsageError, match=r"no version 7; its versions: high-utiliser 1, high-utiliser 2"):
        card_of(record, version=7)


def test_a_models_name_is_no_path() -> None:
    """The file stays in the run folder."""
    assert card_file("../../etc/x y", 3) == "cards/-..-etc-x-y-v3"


def test_the_command_writes_a_card_again_from_the_record_alone(tmp_path: Path) -> None:
    """Nothing of the run but run.json is needed; a version that is not there ends with 2."""
    write_record(sample_record.passed(), tmp_path)
    argv = [sys.executable, "-m", "harness.cli", "card", str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    page, text = map(Path, done.stdout.split())
    assert page == tmp_path / "cards/high-utiliser-v2.html"
    assert text.read_text("utf-8").startswith("# Model card: high-utiliser, version 2")
    wrong = subprocess.run([*argv, "--version", "9"], capture_output=True, text=True, timeout=60, check=False)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("rehearse: card: run 20261123-164000-high-utiliser has no version 9")
