"""Files of checks: what is understood, and what each mistake is told in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config import load_settings
from harness.errors import ConfigError
from harness.lifecycle.checks import (
    KINDS,
    Case,
    Consumers,
    Direction,
    Invariance,
    Latency,
    MinimumFunctionality,
    Robustness,
    Size,
    Skew,
    Slice,
    as_table,
    load_checks,
    parse_checks,
    require_columns,
)
from harness.lifecycle.dataset import high_utiliser
from harness.lifecycle.preflight import PreflightSpec
from harness.lifecycle.preflight import check as preflight
from harness.runtime.paths import data_folder

DEFAULT = data_folder("manifests") / "checks/high-utiliser.toml"


def written(folder: Path, text: str) -> Path:
    path = folder / "checks.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_file_that_comes_with_rehearsal_is_the_default_of_its_data_alone(tmp_path: Path) -> None:
    """A user's own data has the checks that the user wrote."""
    (tmp_path / "visits.csv").write_text("age,visits\n60,3\n")
    assert load_settings(None, {}).model_checks == load_checks(DEFAULT)
    own = load_settings(None, {"--data": str(tmp_path / "visits.csv"), "--target": "visits"})
    assert own.model_checks == ()
    own = load_settings(None, {"--checks": str(written(tmp_path, '[[check]]\nkind = "robustness"\n'))})
    assert own.model_checks == (Robustness(),)


def test_the_default_fits_the_built_in_data() -> None:
    """Its columns are there and its conditions match."""
    tables = [as_table(each) for each in load_checks(DEFAULT)]
    assert preflight(PreflightSpec(high_utiliser(), "automatic", checks=tables)) == 20_190


def test_every_kind_is_read_as_it_was_written() -> None:
    """As tables they go to the job that observes."""
    checks = (
        Invariance("a", values=(1.0, 2.0), tolerance=0.1, at_most=0.01),
        Direction("a", to="x", expect="down"),
        MinimumFunctionality((Case("one", {"a": 1.0}, at_least=0.1), Case("two", above="one"))),
        Slice(where="a > 1", at_least=0.6),
        Robustness(low=0.0, refusal=False),
        Skew(rows=9),
        Latency(5.0),
        Size(1),
        Consumers(requests=3),
    )
    assert parse_checks({"check": [as_table(each) for each in checks]}, "x", Path()) == checks
    assert {each.kind for each in checks} == set(KINDS)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "expected at least one [[check]] table"),
        ("[check]\n", "expected at least one [[check]] table"),
        ("[gate]\nx = 1\n", "gate: unknown key; Allowed: check"),
        ('[[check]]\nkind = "invarience"\n', "check 1: kind: expected invariance, direction, cases, slice, robustness, "
         "skew, latency, size, consumers (did you mean invariance?), got 'invarience'"),
        ('[[check]]\nname = "x"\n', "check 1: kind: expected invariance, direction, cases, slice, robustness, "
         "skew, latency, size, consumers, got None"),
        ('[[check]]\nkind = "invariance"\n', "check 1 (invariance): column: is required"),
        ('[[check]]\nkind = "skew"\nrow = 3\n', "check 1 (skew): row: unknown key; did you mean rows? Allowed: rows, "
         "tolerance, name"),
        ('[[check]]\nkind = "direction"\ncolumn = "a"\nby = 1\nat_least = 1.4\n',
         "check 1 (direction): at_least: expected a number from 0 to 1, got 1.4"),
        ('[[check]]\nkind = "direction"\ncolumn = "a"\n',
         "check 1 (direction): expected one of by (added to the column) and to (set in every row)"),
        ('[[check]]\nkind = "direction"\ncolumn = "a"\nby = 1\nexpect = "left"\n',
         "check 1 (direction): expect: expected up or down, got 'left'"),
        ('[[check]]\nkind = "invariance"\ncolumn = "a"\nat_most = -0.1\n',
         "check 1 (invariance): at_most: expected a number from 0 to 1, got -0.1"),
        ('[[check]]\nkind = "invariance"\ncolumn = ""\n',
         "check 1 (invariance): column: expected a text in quotes, not empty, got ''"),
        ('[[check]]\nkind = "slice"\nby = "a"\nat_least = 2\n',
         "check 1 (slice): at_least: expected a number from 0 to 1, got 2"),
        ('[[check]]\nkind = "slice"\nby = "a"\n', "check 1 (slice): auc is bounded by at_least"),
        ('[[check]]\nkind = "slice"\nby = "a"\nwhere = "b"\nat_least = 0.5\n',
         "check 1 (slice): expected one of where (a condition) and by (a column)"),
        ('[[check]]\nkind = "latency"\np99_ms = 0\n', "check 1 (latency): p99_ms: expected a number above 0, got 0"),
        ('[[check]]\nkind = "size"\nmax_mb = "big"\n', "check 1 (size): max_mb: expected a number above 0, got 'big'"),
        ('[[check]]\nkind = "skew"\nrows = 1.5\n', "check 1 (skew): rows: expected a whole number from 1 up, got 1.5"),
        ('[[check]]\nkind = "robustness"\nlow = 2\nhigh = 1\n', "check 1 (robustness): low 2 is above high 1"),
        ('[[check]]\nkind = "skew"\nname = 3\n', "check 1 (skew): name: expected a text in quotes, got 3"),
        ('[[check]]\nkind = "skew"\n[[check]]\nkind = "skew"\n',
         "two checks are called 'served as trained'; give one of them another name"),
        ('[[check]]\nkind = "cases"\n', "check 1 (cases): expected one of cases (a TOML file) and [[check.case]]"),
        ('[[check]]\nkind = "cases"\ncases = "none.toml"\n', "check 1 (cases): {folder}/none.toml: no such file"),
        ('[[check]]\nkind = "cases"\ncase = 3\n', "check 1 (cases): case: expected [[check.case]] tables"),
        ('[[check]]\nkind = "invariance"\ncolumn = "a"\nvalues = 3\n',
         "check 1 (invariance): values: expected a list of values, got 3"),
        ('[[check]]\nkind = "robustness"\nrefusal = "no"\n',
         "check 1 (robustness): refusal: expected true or false, got 'no'"),
        ('[[check]]\nkind = "cases"\n[[check.case]]\nname = "a"\n',
         "check 1 (cases): case 'a': expected at_least, at_most or above, the answer that is required"),
        ('[[check]]\nkind = "cases"\n[[check.case]]\nname = "a"\nabove = "b"\n',
         "check 1 (cases): case 'a': above: expected another case (a), got 'b'"),
        ('[[check]]\nkind = "cases"\n[[check.case]]\nname = "a"\nat_last = 1\n', "check 1 (cases): case 'a': at_last: "
         "unknown key; did you mean at_least? Allowed: name, row, at_least, at_most, above"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_the_check_and_the_field(text: str, told: str, tmp_path: Path) -> None:
    """Nothing was started by then; the command line ends with 2."""
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as raised:
        load_settings(None, {"--checks": str(path)})
    assert raised.value.message == f"{path}: {told.format(folder=tmp_path)}"
    assert raised.value.exit_code == 2


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: no such file"):
        load_settings(None, {"--checks": str(tmp_path / "none.toml")})


def test_a_column_that_the_data_lacks_is_refused_with_the_nearest_one() -> None:
    """Before anything is trained."""
    with pytest.raises(ConfigError, match=r"check 'agee does not matter': unknown column 'agee'; did you mean age\?"):
        require_columns([Invariance("agee")], ["age", "town"])
    with pytest.raises(ConfigError, match="unknown column 'chronic_disease'; did you mean chronic_diseases"):
        preflight(PreflightSpec(high_utiliser(), "automatic", checks=[as_table(Direction("chronic_disease", by=1.0))]))
