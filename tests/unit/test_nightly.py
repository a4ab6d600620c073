"""A night: which parts, what becomes of the others when one fails, and the history that shows what is flaky."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.cli import run_command
from harness.equivalence import Outcome, Verdict
from harness.errors import UsageError
from harness.nightly import history
from harness.nightly.night import Came, Page, Result, run_night
from harness.nightly.parts import Part, Wanted, parts
from harness.report.nightly import Night, page, write_night
from harness.runtime.events import EventLog
from harness.runtime.supervisor import Supervisor
from tests.unit.read_page import Page as Read

AT = 1_795_456_800.0
DAY_S = 86_400.0
JUNIT = (
    '<testsuites><testsuite><testcase classname="t" name="a"/>'
    '<testcase classname="t" name="b"><failure message="assert 1 == 2"/></testcase></testsuite></testsuites>'
)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    events = EventLog(tmp_path / "events.jsonl")
    with Supervisor(tmp_path, events) as running:
        yield running
    events.close()


def part(name: str, code: str, limit_s: float = 20.0, missing: str = "", junit: str = "") -> Part:
    """A part that runs a line of Python in the night's folder."""
    told = f"import pathlib, sys; place = pathlib.Path(sys.argv[1]); {code}"
    argv = (sys.executable, "-c", told)
    return Part(name, name.title(), lambda night: (*argv, str(night / name)), limit_s, lambda _: missing, junit)


def test_a_part_that_fails_hangs_or_is_not_to_be_had_is_a_line_with_its_reason_and_the_rest_runs(
    tmp_path: Path, supervisor: Supervisor
) -> None:
    told: list[list[Came]] = []
    found = run_night(
        [
            part("fails", "print('working'); sys.exit('rehearse: the disk is full')"),
            part("hangs", "import time; time.sleep(60)", limit_s=1.0),
            part("lacks", "pass", missing="Docker is not here. Hint: install it"),
            part("tests", f"(place / 'j.xml').write_text({JUNIT!r}); sys.exit(1)", junit="j.xml"),
            part("passes", "pass"),
        ],
        tmp_path,
        supervisor,
        lambda results: told.append([result.came for result in results]),
    )

    assert [(each.name, each.came) for each in found] == [
        ("fails", Came.FAILED),
        ("hangs", Came.FAILED),
        ("lacks", Came.MISSING),
        ("tests", Came.FAILED),
        ("passes", Came.PASSED),
    ]
    assert found[0].words == "rehearse: the disk is full"
    assert found[1].words.startswith("stopped: it was not done after")
    assert found[2].words == "Docker is not here. Hint: install it"
    assert found[3].words == "1 failed: t.py::b"
    assert found[3].counts == {"passed": 1, "failed": 1}
    assert told[0] == [Came.NOT_RUN] * 5
    assert (tmp_path / found[0].log).is_file()


def test_a_hung_part_is_ended_with_what_it_started(tmp_path: Path, supervisor: Supervisor) -> None:
    """A child that ignores Ctrl-C is killed in the end; here the part minds it."""
    code = "import subprocess; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)']).pid); "
    began = time.monotonic()
    (found,) = run_night(
        [part("hangs", code + "import time; time.sleep(60)", limit_s=1.0)], tmp_path, supervisor, lambda _: None
    )
    assert found.came is Came.FAILED
    assert time.monotonic() - began < 30


def test_all_parts_are_there_in_an_order_in_which_each_finds_what_it_needs() -> None:
    names = [each.name for each in parts(Wanted())]
    assert names == [
        "images",
        "sbom",
        "audit",
        "release",
        "scenarios-embedded",
        "scenarios-containers",
        "scenarios-kind",
        "scenarios-kubernetes",
        "equivalence",
        "chaos",
        "capacity",
        "soak",
    ]
    few = parts(Wanted(parts=("soak", "scenarios-kind"), worlds=("kind",)))
    assert [each.name for each in few] == ["scenarios-kind", "soak"]


def test_worlds_are_put_side_by_side_only_if_two_came_to_an_end(tmp_path: Path) -> None:
    (equivalence,) = parts(Wanted(parts=("equivalence",)))
    assert equivalence.missing(tmp_path) == "two worlds with verdicts are needed, here: none"
    for world in ("embedded", "kind"):
        folder = tmp_path / f"scenarios-{world}"
        folder.mkdir()
        (folder / f"{world}.xml").write_text(JUNIT)
    assert equivalence.missing(tmp_path) == ""
    assert sum(word.startswith(("embedded=", "kind=")) for word in equivalence.argv(tmp_path)) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--part", "moon"], "nightly: --part: expected images, sbom, audit, release, "),
        (["--world", "mars"], "nightly: --world: expected embedded, containers, kind or kubernetes, got 'mars'"),
        (["--soak", "1"], "nightly: --soak: expected a number from 5 to 86400, got 1"),
        (["--chaos", "0"], "nightly: --chaos: expected a number from 1 to 100000, got 0"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run_command(["nightly", "--reports", str(tmp_path / "reports"), *arguments]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert message in said
    assert not (tmp_path / "reports").exists()


def night(number: int, **came: str) -> dict[str, Any]:
    words = {name: f"broke in night {number}" for name, how in came.items() if how == "failed"}
    return {"night": f"n{number}", "at": AT + number * DAY_S, "cases": came, "words": words}


def test_a_test_that_comes_out_both_ways_is_flaky_with_its_rate_interval_and_last_failures() -> None:
    nights = [night(n, steady="passed", wobbly="failed" if n in (3, 7) else "passed", dead="failed") for n in range(10)]
    dead, wobbly, steady = history.cases(nights)

    assert (wobbly.name, wobbly.passed, wobbly.failed, wobbly.flaky, wobbly.rate) == ("wobbly", 8, 2, True, 0.8)
    assert (wobbly.low, wobbly.high) == pytest.approx((0.4439, 0.9748), abs=1e-4)
    assert [failure.words for failure in wobbly.failures] == ["broke in night 7", "broke in night 3"]
    assert (dead.flaky, dead.rate) == (False, 0.0)
    assert (steady.flaky, steady.rate) == (False, 1.0)


def test_skips_and_missing_parts_do_not_count_and_old_nights_are_forgotten() -> None:
    nights = [night(0, a="failed"), *(night(n, a="skipped", b="missing", c="passed") for n in range(1, 4))]
    assert [case.name for case in history.cases(nights, last=3)] == ["c"]


def test_the_history_survives_a_line_that_was_cut_short(tmp_path: Path) -> None:
    """And the next night begins a line of its own."""
    file = tmp_path / "history.jsonl"
    history.append(file, night(0, a="passed"))
    with file.open("a") as opened:
        opened.write('{"night": "n1", "cases": {"a": "pas')
    history.append(file, night(2, a="failed"))
    assert [each["night"] for each in history.read(file)] == ["n0", "n2"]
    assert history.read(tmp_path / "nothing.jsonl") == []


def test_a_nights_line_has_parts_and_tests_and_words_of_failures_alone() -> None:
    cases = {
        "t::a": Outcome(Verdict.PASSED),
        "t::b": Outcome(Verdict.FAILED, "assert 1"),
        "t::c": Outcome(Verdict.SKIPPED),
    }
    entry = history.line("n", AT, [Result("unit", "Unit", Came.FAILED, "1 failed", cases=cases)])
    assert entry["cases"] == {"unit": "failed", "unit: t::a": "passed", "unit: t::b": "failed", "unit: t::c": "skipped"}
    assert entry["words"] == {"unit": "1 failed", "unit: t::b": "assert 1"}


def sample() -> Night:
    """Two nights' history; a part of every kind."""
    cases = {"t.py::a": Outcome(Verdict.PASSED), "t.py::b": Outcome(Verdict.FAILED, "assert 1 == 2")}
    results = [
        Result("release", "The main job", Came.PASSED, command=f"{sys.executable} -m harness.cli run", duration_s=21.0,
               log="logs/release.log", pages=[Page("release/x/index.html", "Release", "passed")]),
        Result("scenarios-embedded", "Scenarios, embedded", Came.FAILED, "1 failed: t.py::b", duration_s=80.0,
               log="logs/scenarios-embedded.log", cases=cases,
               pages=[Page("scenarios-embedded/b/index.html", "b", "failed")]),
        Result("scenarios-kind", "Scenarios, kind", Came.MISSING, "Docker: a running engine. Hint: install it"),
        Result("soak", "Soak"),
    ]  # fmt: skip
    nights = [night(n, wobbly="failed" if n == 3 else "passed", dead="failed", steady="passed") for n in range(9)]
    return Night("n9", AT, "rehearse nightly", results, history.cases(nights), 9, {"cpus": 2, "system": "Linux"})


def test_the_index_has_every_part_with_its_page_or_its_reason_and_what_is_flaky(tmp_path: Path) -> None:
    index = write_night(sample(), tmp_path)
    found = Read(index.read_text(encoding="utf-8"))

    assert found.open == []
    assert len(found.all("id")) == len(set(found.all("id")))
    assert "4 parts: 1 passed, 1 failed, 1 missing, 1 not run. 2 tests, 1 failed." in found.text
    assert {"release/x/index.html", "scenarios-embedded/b/index.html", "logs/release.log"} <= set(found.all("href"))
    assert "Docker: a running engine. Hint: install it" in found.text
    assert "rehearse run" in found.text
    assert "broke in night 3" in found.text
    assert "wobbly" in found.text
    data = json.loads((tmp_path / "nightly.json").read_text())
    assert [each["came"] for each in data["parts"]] == ["passed", "failed", "missing", "not run"]
    assert data["status"] == "failed"


def test_a_night_in_which_nothing_could_run_has_not_passed() -> None:
    nothing = Night("n", AT, "x", [Result("a", "A", Came.MISSING, "not here")], [], 1, {})
    assert nothing.status == "skipped"
    assert "passed" not in page(nothing).partition("</h2>")[0].partition("<h2")[2]


def test_worlds_cannot_be_wanted_that_do_not_exist() -> None:
    with pytest.raises(UsageError):
        Wanted(worlds=("venus",))
