"""A secret in an error of the user's code: what Rehearsal writes and prints about it does not have it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SECRET = "hunter2hunter2"
FUNCTION = f"""
def train(features, target):
    raise OSError("cannot reach postgres://u:{SECRET}@db")
"""
CONFIG = """
[data]
file = "rows.csv"
target = "ill"

[train]
entry = "leaky:train"
"""


def test_an_error_with_a_password_is_told_without_it(tmp_path: Path) -> None:
    """Neither on the terminal nor in the run's files; the process's own log in logs/ is what the code printed."""
    rows = (f"{age},{age % 7},{int(age % 3 == 0)}" for age in range(300))
    (tmp_path / "rows.csv").write_text("\n".join(["age,plan,ill", *rows]))
    (tmp_path / "leaky.py").write_text(FUNCTION)
    (tmp_path / "rehearsal.toml").write_text(CONFIG)
    environment = {
        **os.environ,
        "REHEARSAL_STATE": str(tmp_path / "state"),
        "REHEARSAL_RUNS": str(tmp_path / "reports"),
    }
    argv = [sys.executable, "-m", "harness.cli", "run"]
    done = subprocess.run(argv, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    (folder,) = (tmp_path / "reports").iterdir()
    written = [path for path in folder.rglob("*") if path.is_file() and "logs" not in path.parts]
    assert done.returncode == 2
    assert "postgres://u:***@db" in done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert {"run.json", "events.jsonl", "index.html", "junit.xml"} <= {path.name for path in written}
    assert [str(path) for path in written if SECRET.encode() in path.read_bytes()] == []
    for name in ("run.json", "events.jsonl", "index.html", "junit.xml"):
        assert "postgres://u:***@db" in (folder / name).read_text(encoding="utf-8"), name
