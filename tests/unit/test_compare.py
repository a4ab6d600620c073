"""`rehearse compare`: what is said of differences that are there, and of those that are not; its exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness._cli_compare import lines
from harness.cli import run_command
from harness.compare import Comparison, Key, Sample, Verdict, compare, samples
from harness.compare.compare import Budget
from harness.compare.sample import of_requests
from harness.report.store import load_record, write_record
from tests.unit import compared_runs, sample_load
from tests.unit.compared_runs import requests, written

KEY = ("steady", 0)


def load(seed: int, **how: float) -> dict[Key, Sample]:
    rows = requests(seed, **how)
    return {KEY: of_requests("steady", *(rows.column(name).to_numpy() for name in rows.column_names))}


def verdicts(found: Comparison) -> dict[str, tuple[Verdict, Budget]]:
    return {row.metric: (row.verdict, row.budget) for row in found.rows}


def test_two_loads_of_one_kind_differ_in_nothing() -> None:
    found = compare(load(1), load(2), budget=0.2)
    assert {verdict for verdict, _ in verdicts(found).values()} == {Verdict.NOT_SHOWN}
    assert verdicts(found)["p50"] == (Verdict.NOT_SHOWN, Budget.KEPT)
    assert found.broken == []


def test_a_slower_load_is_worse_and_breaks_a_budget_that_it_is_beyond() -> None:
    """40 % slower is beyond a budget of 10 %, and not of 60 %; the way back is better."""
    slower = load(2, slower=1.4)
    assert verdicts(compare(load(1), slower))["p50"] == (Verdict.WORSE, Budget.BROKEN)
    assert verdicts(compare(load(1), slower, budget=0.6))["p50"] == (Verdict.WORSE, Budget.KEPT)
    assert verdicts(compare(slower, load(1)))["p50"] == (Verdict.BETTER, Budget.KEPT)


def test_failures_are_worse_and_so_are_fewer_good_answers() -> None:
    found = verdicts(compare(load(1), load(2, failing=0.3)))
    assert found["failed"] == (Verdict.WORSE, Budget.BROKEN)
    assert found["answered well"] == (Verdict.WORSE, Budget.BROKEN)
    assert verdicts(compare(load(1), load(2, failing=0.002)))["answered well"][1] is Budget.KEPT


def test_few_requests_show_nothing_and_break_nothing() -> None:
    """An interval that reaches from kept to broken leaves the budget open."""
    found = verdicts(compare(load(1, rps=5.0), load(2, rps=5.0)))
    assert found["p99"] == (Verdict.NOT_SHOWN, Budget.OPEN)


def test_latencies_that_the_generator_spoilt_are_withheld() -> None:
    late = {KEY: Sample(**{**vars(load(2, slower=3.0)[KEY]), "distrust": "the generator was late"})}
    found = compare(load(1), late)
    assert verdicts(found)["p99"] == (Verdict.WITHHELD, Budget.OPEN)
    assert "B: the generator was late" in next(row.note for row in found.rows if row.metric == "p99")
    assert verdicts(found)["failed"][0] is Verdict.NOT_SHOWN


def test_a_load_that_was_too_short_is_withheld_and_another_rate_is_said() -> None:
    short = compare(load(1, seconds=3.0), load(2, slower=2.0))
    assert {verdict for verdict, _ in verdicts(short).values()} == {Verdict.WITHHELD}
    assert list(lines(short))[-1].startswith("NO VERDICT: Nothing can be said: the load was too short: 5 s are needed")
    (note,) = compare(load(1), load(2, rps=400.0)).notes
    assert note.startswith("steady: A was offered 200 requests a second and B 400")


def test_loads_are_paired_by_name_and_a_single_one_whatever_it_is_called() -> None:
    one, other = load(1)[KEY], load(2)[KEY]
    assert len(compare({("a", 0): one}, {("b", 0): other}).rows) == 6
    found = compare({("a", 0): one, ("b", 0): one}, {("b", 0): other, ("b", 1): other})
    assert {row.load for row in found.rows} == {"steady"}
    assert len(found.rows) == 6
    assert found.alone == {"a": "A", "b (2)": "B"}


def test_what_does_not_differ_is_said_to_differ_as_rarely_as_it_is_stated() -> None:
    """200 comparisons at an error rate of 0.1: in at most 8 % is any of the six quantities said to differ."""
    wrong = sum(
        any(row.verdict is not Verdict.NOT_SHOWN for row in compare(load(n), load(n + 1000), error_rate=0.1).rows)
        for n in range(200)
    )
    assert wrong <= 16


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A reports folder with a run, the same again, and a slower one."""
    home = tmp_path / "reports"
    for name, how in (("base", {}), ("same", {}), ("slow", {"slower": 1.5})):
        written(home, name, requests(len(name) + ord(name[0]), **how))
    return home


def test_the_command_writes_a_page_and_json_and_its_exit_code_is_the_budgets(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["compare", "base", "same", "--reports", str(home), "--budget", "0.2"]) == 0
    assert "NO REGRESSION: No difference was shown." in capsys.readouterr().out

    assert run_command(["compare", "base", "slow", "--reports", str(home), "--json"]) == 1
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    folder = max(home.glob("*-compare*"), key=lambda folder: folder.stat().st_mtime_ns)
    assert json.loads((folder / "compare.json").read_text()) == {"runs": {"A": "base", "B": "slow"}, **printed}
    assert printed["passed"] is False
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "worse by more than the budget of 10" in page
    assert page.count("<figure") == 2


def test_a_comparison_that_can_say_nothing_does_not_look_passed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(home, "short", requests(3, seconds=3.0))
    assert run_command(["compare", "base", "short", "--reports", str(home)]) == 1
    assert "NO VERDICT: Nothing can be said: the load was too short" in capsys.readouterr().out
    (page,) = home.glob("*-compare*/index.html")
    assert '<section class="verdict interrupted"' in page.read_text(encoding="utf-8")
    told = json.loads((page.parent / "compare.json").read_text())
    assert (told["passed"], told["outcome"]) == (False, "no verdict")


def test_a_load_that_only_the_first_run_has_fails_the_comparison(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was not offered again may hide anything; what was offered in addition hides nothing."""
    of_two = [compared_runs.of(requests(1), load=name).loads[0] for name in ("steady", "burst")]
    both = written(home, "both", requests(1))
    record = load_record(both)
    record.loads = of_two
    write_record(record, both)

    assert run_command(["compare", "both", "base", "--reports", str(home), "--budget", "0.2"]) == 1
    assert "\nINCOMPLETE: B lacks load burst of A.\n" in capsys.readouterr().out
    (page,) = home.glob("*-compare*/index.html")
    assert '<section class="verdict failed"' in page.read_text(encoding="utf-8")
    assert "B lacks load burst of A." in page.read_text(encoding="utf-8")
    told = json.loads((page.parent / "compare.json").read_text())
    assert (told["passed"], told["outcome"], told["alone"]) == (False, "incomplete", {"burst": "A"})

    assert run_command(["compare", "base", "both", "--reports", str(home), "--budget", "0.2"]) == 0
    assert "alone    burst is in B only" in capsys.readouterr().out


def test_the_probes_of_a_capacity_search_are_not_compared(tmp_path: Path) -> None:
    """Another run's search has probes of other rates and numbers: that it lacks one of these is no finding."""
    record = sample_load.run(30)
    (search,), name = record.capacity, record.loads[0].name
    search.steps[-1].load = name
    assert name in {load.name for load in record.loads if load.sent}
    assert samples(record, tmp_path) == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["base", "nothing"], "run 'nothing': no such run in"),
        (["base", "same", "--budget", "-0.1"], "compare: --budget: expected a share from 0 to 0.99, got -0.1"),
        (["base", "same", "--budget", "ten"], "Invalid value for '--budget': "),
        (["base", "same", "--error-rate", "2"], "compare: --error-rate: expected a share from 1e-09 to 0.5, got 2"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run_command(["compare", *arguments, "--reports", str(home)]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert message in said
    assert not list(home.glob("*-compare*"))


def test_a_ledger_that_is_gone_or_damaged_is_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = home / "same" / "ledger.parquet"
    ledger.write_bytes(b"PAR1 not")
    assert run_command(["compare", "base", "same", "--reports", str(home)]) == 2
    assert "same/ledger.parquet is not a ledger" in capsys.readouterr().err
    ledger.unlink()
    assert run_command(["compare", "base", "same", "--reports", str(home)]) == 2
    assert "same/ledger.parquet does not exist" in capsys.readouterr().err
