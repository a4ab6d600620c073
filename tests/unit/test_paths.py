"""Where things are kept, and how a run is found again."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import CapabilityMissing, UsageError
from harness.runtime import paths
from harness.runtime.paths import (
    cache_home,
    data_folder,
    data_path,
    find_program,
    find_run,
    new_run_folder,
    runs_home,
    state_home,
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, with none of the variables set."""
    for name in ("REHEARSAL_CACHE", "REHEARSAL_STATE", "REHEARSAL_RUNS", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def finished_run(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    return folder


def test_without_variables_the_folders_are_those_of_xdg(home: Path) -> None:
    """A user finds caches and states where other programs keep theirs."""
    assert cache_home() == home / ".cache/rehearsal"
    assert state_home() == home / ".local/state/rehearsal"
    assert state_home().is_dir()


def test_an_own_variable_wins_over_xdg(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """REHEARSAL_CACHE is the whole path; XDG_CACHE_HOME is the parent."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "xdg"))
    assert cache_home() == home / "xdg/rehearsal"
    monkeypatch.setenv("REHEARSAL_CACHE", str(home / "mine"))
    assert cache_home() == home / "mine"


def test_a_relative_xdg_path_is_ignored(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the XDG specification demands: else each working folder would have a cache of its own."""
    monkeypatch.setenv("XDG_CACHE_HOME", "somewhere")
    assert cache_home() == home / ".cache/rehearsal"


def test_a_folder_that_cannot_be_made_is_a_line(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the path."""
    (home / "file").write_text("")
    monkeypatch.setenv("REHEARSAL_STATE", str(home / "file/state"))
    with pytest.raises(UsageError, match=r"cannot make the folder .*/file/state: Not a directory"):
        state_home()


def test_two_runs_in_one_second_get_folders_of_their_own(home: Path) -> None:
    """Two runs side by side never share a folder."""
    first, second = new_run_folder(home / "reports", "demo"), new_run_folder(home / "reports", "demo")
    assert first != second
    assert first.is_dir()
    assert second.is_dir()


@pytest.mark.parametrize("name", ["", "../up", "a b", "-x", "x" * 65])
def test_a_run_name_that_is_no_folder_name_is_refused(home: Path, name: str) -> None:
    """Nothing is ever written outside the reports folder."""
    with pytest.raises(UsageError, match="run name: expected 1 to 64 letters"):
        new_run_folder(home, name)


def test_reports_that_are_a_file_are_refused(home: Path) -> None:
    """A file where the folder should be is named, not overwritten."""
    (home / "reports").write_text("mine")
    with pytest.raises(UsageError, match="reports"):
        new_run_folder(home / "reports", "demo")
    assert (home / "reports").read_text() == "mine"


def test_a_run_is_found_by_id_prefix_path_and_latest(home: Path) -> None:
    """What a user copies from the screen works."""
    old, new = finished_run(home / "20260101-000000-a"), finished_run(home / "20260102-000000-b")
    assert find_run("20260101-000000-a", home) == old
    assert find_run("20260102", home) == new
    assert find_run(str(old), home) == old
    assert find_run("latest", home) == new


@pytest.mark.parametrize(("run", "why"), [("2026", "several match"), ("1999", "no such run")])
def test_a_run_that_is_not_one_run_is_refused_with_those_that_are(home: Path, run: str, why: str) -> None:
    """The error lists the newest runs, to copy from."""
    finished_run(home / "20260101-000000-a")
    finished_run(home / "20260102-000000-b")
    with pytest.raises(UsageError, match=rf"{why} in .*20260102-000000-b"):
        find_run(run, home)


def test_a_fetched_program_is_found_after_those_on_path(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set-up's own Prometheus is used only where the machine has none."""
    monkeypatch.setenv("PATH", str(home / "bin"))
    assert find_program("prometheus") is None
    for folder in (cache_home() / "bin", home / "bin"):
        folder.mkdir(parents=True)
        program = folder / "prometheus"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        assert find_program("prometheus") == program


def test_runs_home_prefers_the_argument_then_the_variable(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flag, variable, default: in this order."""
    monkeypatch.chdir(home)
    assert runs_home() == home / "reports"
    monkeypatch.setenv("REHEARSAL_RUNS", str(home / "variable"))
    assert runs_home() == home / "variable"
    assert runs_home("flag") == home / "flag"


def test_data_lies_beside_harness_in_its_repository() -> None:
    """Whoever changes a manifest in the repository sees the change at once."""
    root = Path(paths.__file__).resolve().parents[2]
    assert data_folder("manifests") == root / "manifests"
    assert data_path("constraints.txt") == root / "constraints.txt"


def test_data_lies_in_the_package_when_it_came_from_a_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside an installed harness/ are other people's packages: a folder `manifests` there is not ours."""
    package = tmp_path / "site-packages/harness"
    (package / "_data/manifests").mkdir(parents=True)
    (package.parent / "manifests").mkdir()
    monkeypatch.setattr(paths, "_PACKAGE", package)
    assert data_folder("manifests") == package / "_data/manifests"
    with pytest.raises(CapabilityMissing, match=r"loadtests did not come .* pip install"):
        data_folder("loadtests")
