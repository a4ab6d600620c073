"""The wheel in another team's repository: an empty environment, an empty folder, and one test of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

USERS_TEST = """
from harness import SLO, Outcome
from harness.lifecycle.dataset import Dataset
from sklearn.tree import DecisionTreeClassifier

def train(features, target, **params):
    return DecisionTreeClassifier(**params).fit(features, target)

def test_our_next_model_is_promoted(platform):
    patients = Dataset("patients", "patients.csv", "ill")
    v1 = platform.train(patients, train="test_release:train", max_depth=1)
    v2 = platform.train(patients, train="test_release:train", max_depth=4)
    service = platform.deploy(v1)
    with platform.load(service, rps=100):
        rollout = service.canary(v2, slo=SLO(errors=0.02, slower_than_ms=100, slow=0.1))
    assert rollout.outcome is Outcome.PROMOTED
"""


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the team's environment, data and test; the clone is not on any path."""
    folder = tmp_path_factory.mktemp("team")
    uv = [str(Path(sys.executable).with_name("uv"))]
    hatch = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder / "dist")]
    subprocess.run(hatch, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (wheel,) = (folder / "dist").glob("*.whl")
    subprocess.run(
        [*uv, "venv", "--python", sys.executable, str(folder / "venv")], check=True, capture_output=True, timeout=60
    )
    pins = ["--constraints", str(ROOT / "constraints.txt"), "--python", str(folder / "venv/bin/python")]
    subprocess.run([*uv, "pip", "install", *pins, str(wheel)], check=True, capture_output=True, timeout=600)
    _lend_bytecode(folder / "venv")
    (folder / "repository").mkdir()
    rows = "".join(f"{age},{age % 7},{int(age % 100 > 50)}\n" for age in range(1000))
    (folder / "repository/patients.csv").write_text(f"age,visits,ill\n{rows}")
    (folder / "repository/test_release.py").write_text(USERS_TEST)
    return folder


def _lend_bytecode(venv: Path) -> None:
    """Links what this environment has compiled: the sources are the same files, and compiling takes 15 CPU seconds."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    mine, theirs = Path(sys.prefix, "lib", version, "site-packages"), venv / "lib" / version / "site-packages"
    if mine.stat().st_dev != theirs.stat().st_dev:
        return
    for compiled in mine.rglob("__pycache__/*.pyc"):
        target = theirs / compiled.relative_to(mine)
        if target.parent.parent.is_dir() and not target.exists():
            target.parent.mkdir(exist_ok=True)
            os.link(compiled, target)


def test_a_users_own_test_runs_with_pytest_alone(team: Path) -> None:
    """pip install and pytest are all that it takes; the plug-in gives the platform."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON", "TOX"))
    }
    environment |= {"PATH": f"{team / 'venv/bin'}:/usr/bin:/bin", "REHEARSAL_STATE": str(team / "state")}
    environment.pop("VIRTUAL_ENV", None)
    argv = [str(team / "venv/bin/pytest"), "-p", "no:cacheprovider"]
    done = subprocess.run(
        argv, cwd=team / "repository", env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
