"""rehearsal.toml and flags: what is understood, and what each mistake is told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.config import SECTIONS, Settings, expected_words, load_settings
from harness.errors import ConfigError
from harness.lifecycle.rollout import BlueGreen
from harness.lifecycle.slo import SLO
from harness.lifecycle.spec import GatePolicy

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a data file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "visits.csv").write_text("age,visits\n60,3\n")
    return tmp_path


def write(folder: Path, text: str, name: str = "rehearsal.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_without_a_file_and_flags_the_built_in_data_is_rehearsed(folder: Path) -> None:
    """`./rehearse` in an empty clone needs no configuration."""
    settings = load_settings()
    assert settings.uses_default_data
    assert settings.load.steps == (10, 50, 100)


def test_a_file_is_read_with_paths_relative_to_it(folder: Path) -> None:
    """A configuration can be named from anywhere."""
    (folder / "team").mkdir()
    (folder / "team/data.parquet").write_bytes(b"")
    config = write(folder / "team", '[data]\nfile = "data.parquet"\ntarget = "y"\n[run]\nreports = "out"\n')
    settings = load_settings(config)
    assert settings.data.file == folder / "team/data.parquet"
    assert settings.run.reports == folder / "team/out"
    assert settings.root == folder / "team"


def test_rehearsal_toml_in_the_current_folder_is_found_by_itself(folder: Path) -> None:
    """As other tools do with their file."""
    write(folder, "[load]\nrps = 90\n")
    assert load_settings().load.rps == 90


def test_flags_override_the_file(folder: Path) -> None:
    """What is typed wins; what is not typed stays."""
    write(folder, '[data]\nfile = "visits.csv"\ntarget = "age"\nthreshold = 2\n')
    data = load_settings(None, {"--target": "visits", "--task": None}).data
    assert (data.target, data.threshold, data.file) == ("visits", 2, folder / "visits.csv")


def test_a_numeric_label_may_be_written_without_quotes(folder: Path) -> None:
    """`positive = 1` is what a user writes for a 0/1 target."""
    write(folder, '[data]\nfile = "visits.csv"\ntarget = "visits"\npositive = 1\n')
    assert load_settings().data.positive == "1"


def test_settings_survive_json(folder: Path) -> None:
    """They go into run.json and to other processes."""
    write(folder, '[data]\nfile = "visits.csv"\ntarget = "visits"\n[train]\ncandidate = { max_depth = 6 }\n')
    settings = load_settings()
    text = settings.model_dump_json()
    assert Settings.model_validate_json(text) == settings
    assert json.loads(text)["train"]["candidate"] == {"max_depth": 6}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[slo]\nerrors = "many"', 'rehearsal.toml: [slo] errors: expected a number between 0 and 1, got "many"'),
        ("[slo]\nerrors = true", "rehearsal.toml: [slo] errors: expected a number between 0 and 1, got true"),
        ("[slo]\nslow = 1", "rehearsal.toml: [slo] slow: expected a number between 0 and 1, got 1"),
        ("[slo]\nslow = nan", "rehearsal.toml: [slo] slow: expected a number between 0 and 1, got nan"),
        (
            "[slo]\nerorrs = 0.1",
            "rehearsal.toml: [slo] erorrs: unknown key; did you mean errors? Allowed: errors, slower_than_ms, slow",
        ),
        (
            "[sloo]\nerrors = 0.1",
            "rehearsal.toml: [sloo]: unknown key; did you mean slo? "
            "Allowed: run, cluster, node, data, train, pipeline, slo, gate, checks, card, load, rollout",
        ),
        ("slo = 3", "rehearsal.toml: [slo]: expected a table of keys, got 3"),
        (
            '[data]\ntask = "cluster"',
            'rehearsal.toml: [data] task: expected classification or regression, got "cluster"',
        ),
        ('[data]\ntarget = "y"', "rehearsal.toml: [data] target: needs a data file: [data] file, or --data FILE"),
        (
            '[data]\nfile = "visits.csv"',
            "rehearsal.toml: [data] file: needs the column to predict: [data] target, or --target COLUMN",
        ),
        (
            '[data]\nfile = "rehearsal.toml"\ntarget = "y"',
            'rehearsal.toml: [data] file: expected a file that ends with .csv or .parquet, got "rehearsal.toml"',
        ),
        (
            '[data]\nfile = "visits.csv"\ntarget = "y"\ntask = "regression"\nthreshold = 5',
            "rehearsal.toml: [data] threshold: is for classification, but the task is regression",
        ),
        (
            '[train]\nentry = "train.py"',
            'rehearsal.toml: [train] entry: expected "module:function", such as "my_model:train", got "train.py"',
        ),
        (
            "[load]\nsteps = [50, 10]",
            "rehearsal.toml: [load] steps: expected a rising list of percentages that ends with 100, "
            "such as [10, 50, 100], got [50, 10]",
        ),
        (
            '[run]\nbackend = "cloud"',
            'rehearsal.toml: [run] backend: expected embedded, containers, kind or kubernetes, got "cloud"',
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_place_and_allowed_values(folder: Path, text: str, message: str) -> None:
    """The user can mend the file from the message alone."""
    with pytest.raises(ConfigError) as caught:
        load_settings(Path(write(folder, text).name))
    assert caught.value.message == message


def test_a_latency_bound_that_the_gateway_cannot_count_is_refused(folder: Path) -> None:
    """The error proposes the bounds that are nearest."""
    write(folder, "[slo]\nslower_than_ms = 45")
    with pytest.raises(ConfigError, match=r"\[slo\] slower_than_ms: .* use 40 or 50"):
        load_settings()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"--task": "cluster"}, '--task: expected classification or regression, got "cluster"'),
        ({"--data": "none.csv", "--target": "y"}, "--data: no such file: "),
        ({"--data": "visits.csv"}, "--data: needs the column to predict"),
        ({"--target": "y"}, "--target: needs a data file"),
        ({"--name": "My run"}, "--name: expected 1 to 40 of a-z"),
    ],
)
def test_a_wrong_flag_is_named_as_it_was_typed(folder: Path, flags: dict[str, Any], message: str) -> None:
    """Whoever typed a flag is not told about a file."""
    with pytest.raises(ConfigError) as caught:
        load_settings(None, flags)
    assert caught.value.message.startswith(message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[slo", r"rehearsal.toml: not TOML: .*"),
        (b"\xff\xfe[slo]", r"rehearsal.toml: not UTF-8 \(byte 0\)"),
    ],
)
def test_a_file_that_is_not_toml_is_refused(folder: Path, content: bytes, message: str) -> None:
    """Bad encoding and bad syntax are told apart."""
    (folder / "rehearsal.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load_settings()


def test_a_named_file_that_is_missing_is_refused(folder: Path) -> None:
    """It is never replaced by the defaults."""
    with pytest.raises(ConfigError, match=r"team.toml: no such file"):
        load_settings(Path("team.toml"))


def test_gate_and_slo_have_the_defaults_of_the_code_that_judges() -> None:
    """The reference tells the truth about what happens without configuration."""
    defaults = Settings()
    assert SLO(**defaults.slo.model_dump()) == SLO()
    assert GatePolicy(**defaults.gate.model_dump()) == GatePolicy()


def test_every_key_says_what_it_may_be_and_what_it_means() -> None:
    """The reference has no empty cell, and no error ends in a defect."""
    for section in SECTIONS.values():
        for key, field in section.model_fields.items():
            assert expected_words(section, key)
            assert field.description


def test_the_committed_reference_is_what_the_code_generates() -> None:
    """docs/cli.md and docs/configuration.md cannot fall behind."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs/generate.py"), "--check"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_policy_file_says_how_the_candidate_is_released(tmp_path: Path) -> None:
    policy = tmp_path / "release.toml"
    policy.write_text('kind = "blue-green"\nhold_s = 3\n[slo]\nerrors = 0.03\n')
    (tmp_path / "rehearsal.toml").write_text('[rollout]\npolicy = "release.toml"\n')
    from_file = load_settings(tmp_path / "rehearsal.toml")
    from_flag = load_settings(None, {"--policy": str(policy)})
    assert from_file.policy == from_flag.policy == BlueGreen(SLO(errors=0.03), hold_s=3)


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ('[slo]\nerrors = 0.1\n[rollout]\npolicy = "p.toml"\n', r"\[slo\] errors: the policy .*p.toml has its own"),
        ('[load]\nsteps = [100]\n[rollout]\npolicy = "p.toml"\n', r"\[load\] steps: the policy .*p.toml has its own"),
        ('[rollout]\npolicy = "none.toml"\n', r"none.toml: no such file"),
        ('[rollout]\npolicy = "p.toml"\n[load]\nrps = 2\n', r"p.toml: the step of 100 % can have no verdict: .* 2 req"),
        ("[load]\nrps = 5\n", r"rehearsal.toml: the step of 10 % can have no verdict: .* takes 173 canary requests"),
    ],
)  # fmt: skip
def test_a_policy_that_cannot_be_followed_is_one_line(tmp_path: Path, table: str, complaint: str) -> None:
    (tmp_path / "p.toml").write_text('kind = "blue-green"\n')
    (tmp_path / "rehearsal.toml").write_text(table)
    with pytest.raises(ConfigError, match=complaint):
        load_settings(tmp_path / "rehearsal.toml")
