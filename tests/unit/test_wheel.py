"""The wheel: what a team installs into its own repository."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel as hatchling builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    argv = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (path,) = folder.glob("rehearsal-*.whl")
    return zipfile.ZipFile(path)


def test_the_wheel_has_every_file_of_the_library_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    """Templates and py.typed travel; tests, scenarios and reports stay."""
    shipped = {name for name in wheel.namelist() if ".dist-info/" not in name}
    tracked = subprocess.run(
        ["git", "ls-files", "harness"], cwd=ROOT, check=True, capture_output=True, text=True, timeout=60
    )
    assert set(tracked.stdout.split()) <= shipped
    assert "harness/py.typed" in shipped
    assert {name.split("/")[0] for name in shipped} == {"harness"}


def test_the_wheel_has_the_data_that_clusters_are_made_of(wheel: zipfile.ZipFile) -> None:
    """Manifests, image recipes, load tests and pinned versions travel below harness/_data."""
    shipped = set(wheel.namelist())
    tracked = subprocess.run(
        ["git", "ls-files", "constraints.txt", "images", "loadtests", "manifests"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert {f"harness/_data/{name}" for name in tracked.stdout.split()} <= shipped


def test_the_wheel_gives_the_command_and_the_pytest_plugin(wheel: zipfile.ZipFile) -> None:
    """`rehearse` and the `platform` fixture are there after pip install."""
    (name,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    entry_points = wheel.read(name).decode()
    assert "rehearse = harness.cli:main" in entry_points
    assert "rehearsal = harness.pytest_plugin" in entry_points


def test_the_wheel_carries_no_machine_and_no_secret(wheel: zipfile.ZipFile) -> None:
    """No path of the machine that it was built on."""
    for name in wheel.namelist():
        assert str(ROOT).encode() not in wheel.read(name), name
