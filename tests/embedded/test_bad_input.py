"""A user's mistakes, on real files through the command line: one line that says what to do, exit code 2, nothing left.

What can be known beforehand is said before anything starts, so no run folder is made. What only a training shows ends a
run whose report tells it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.cli import run_command

ROWS = 200
HEAD = "[data]\nfile = 'data.csv'\ntarget = 'left'\n"
TRAIN = HEAD + "[train]\nentry = 'my_model:train'\n"


def table(**columns: Any) -> pd.DataFrame:
    """Rows that are fine: an age, a plan, and who left."""
    random = np.random.default_rng(1)
    age = random.integers(18, 80, ROWS)
    frame = pd.DataFrame({"age": age, "plan": random.choice(["basic", "plus"], ROWS), "left": (age > 50).astype(int)})
    return frame.assign(**columns)


@dataclass(frozen=True)
class Case:
    """Files beside rehearsal.toml, and what the line must say."""

    says: str
    toml: str = HEAD
    files: dict[str, pd.DataFrame | bytes] = field(default_factory=lambda: {"data.csv": table()})


def csv(**columns: Any) -> dict[str, pd.DataFrame | bytes]:
    return {"data.csv": table(**columns)}


def code(text: str) -> dict[str, pd.DataFrame | bytes]:
    return {"data.csv": table(), "my_model.py": text.encode()}


PARQUET = HEAD.replace("csv", "parquet")
LINEAR = "def train(features, target, *, depth=1):\n    pass\n"
BEFORE: dict[str, Case] = {
    "unknown key": Case("[data] tagret: unknown key; did you mean target? Allowed: file, target", HEAD + "tagret = 1"),
    "wrong type": Case('[data] threshold: expected a number, got "five"', HEAD + "threshold = 'five'"),
    "missing file": Case("[data] file: no such file: ", files={}),
    "unsupported suffix": Case('expected a file that ends with .csv or .parquet, got "data.xlsx"',
                               HEAD.replace("csv", "xlsx"), {"data.xlsx": b"PK"}),
    "empty file": Case("data.csv: the file is empty", files={"data.csv": b""}),
    "header only": Case("data.csv: the file has no rows", files={"data.csv": b"age,left\n"}),
    "bad encoding": Case("data.csv: not UTF-8 (byte 0xf6 in line 2) Hint: convert it",
                         files={"data.csv": "city,left\nK\xf6ln,1\n".encode("latin-1")}),
    "broken Parquet": Case("data.parquet: not a parquet file", PARQUET, {"data.parquet": b"PAR1, but not to the end"}),
    "target not a column": Case("target 'gone' is not a column; columns: age", HEAD.replace("left", "gone")),
    "one class": Case("target 'left' has one class only: every row is 1 Hint: choose", files=csv(left=1)),
    "three classes": Case("has 3 classes (0, 1, 2); two are supported", files=csv(left=np.arange(ROWS) % 3)),
    "constant target": Case("target 'left' is constant: every row is 3.5", HEAD + "task = 'regression'", csv(left=3.5)),
    "text as a number": Case("target 'left' is text (yes), but the task is regression", HEAD + "task = 'regression'",
                             csv(left=["yes", "no"] * 100)),
    "constant column": Case("column 'unit' is constant: every row is mg Hint: drop it, or add 'unit' to ignore",
                            files=csv(unit="mg")),
    "all-missing column": Case("column 'gap' has no value in any row Hint: drop it", files=csv(gap=np.nan)),
    "identifier": Case("column 'id' is text with another value in every row",
                       files=csv(id=[f"p{n}" for n in range(ROWS)])),
    "too few rows": Case("has 20 usable rows; at least 50", files={"data.csv": table().head(20)}),
    "slice not a column": Case("slices names sex, not a column; columns: age", HEAD + "slices = ['sex']"),
    "condition that fails": Case("the condition 'agee > 3' cannot be evaluated: name 'agee' is not defined",
                                 HEAD + "drift = 'agee > 3'"),
    "condition on none": Case("drift = 'age > 200' matches none of the 200 rows", HEAD + "drift = 'age > 200'"),
    "condition on all": Case("drift = 'age > 1' matches 100% of the rows, which is no", HEAD + "drift = 'age > 1'"),
    "no module": Case("training function my_model:train: no module 'my_model' in ", TRAIN),
    "module that fails": Case("importing my_model raised ZeroDivisionError: division by", TRAIN, code("1 / 0\n")),
    "module of bad syntax": Case("importing my_model raised SyntaxError: ", TRAIN, code("def train(:\n")),
    "module that imports nothing there": Case("importing my_model failed: No module named 'nowhere_at_all'", TRAIN,
                                              code("import nowhere_at_all\n")),
    "module that exits": Case("importing my_model raised SystemExit: 3", TRAIN, code("raise SystemExit(3)\n")),
    "module that ends the process": Case("importing my_model ended the process with exit code 7", TRAIN,
                                         code("import os; os._exit(7)\n")),
    "module that hangs": Case("importing my_model did not finish within 0.5 s", TRAIN + "deadline_s = 0.5",
                              code("while True: pass\n")),
    "no function": Case("my_model has no function 'train'; it has: fit", TRAIN, code("def fit(): pass\n")),
    "wrong argument": Case("[train] candidate: my_model:train takes (features, target, *, depth=1): got an unexpected "
                           "keyword argument 'dpeth'", TRAIN + "candidate = { dpeth = 2 }", code(LINEAR)),
    "wrong parameter": Case("decision-tree has no dpeth; allowed: ", HEAD + "[train]\nbaseline = { dpeth = 2 }"),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder; nothing of this test runs anywhere else."""
    monkeypatch.setenv("REHEARSAL_STATE", str(tmp_path / "state"))
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    return tmp_path / "mine"


def write(folder: Path, case: Case) -> None:
    (folder / "rehearsal.toml").write_text(case.toml, encoding="utf-8")
    for name, content in case.files.items():
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            content.to_csv(folder / name, index=False)


@pytest.mark.parametrize("name", BEFORE)
def test_a_mistake_is_one_line_and_leaves_nothing(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, the line says what is wrong and where, nothing was started or written."""
    write(folder, BEFORE[name])
    before = sorted(folder.iterdir())
    code = run_command(["run", "--reports", str(folder / "reports")])
    out, errors = capsys.readouterr()
    assert (code, out) == (2, "")
    assert BEFORE[name].says in errors
    assert errors.count("\n") == 1
    assert [path for path in sorted(folder.iterdir()) if path.name != "__pycache__"] == before


FITTED = "import threading\nfrom sklearn.linear_model import LogisticRegression\n"
TRAINING: dict[str, tuple[str, str]] = {
    "raises": ("def train(features, target):\n    raise KeyError('bmi')\n", "my_model:train raised KeyError: 'bmi' ("),
    "returns nothing": ("def train(features, target):\n    pass\n", "my_model:train returned nothing Hint: return the"),
    "hangs": ("def train(features, target):\n    while True: pass\n", "my_model:train did not finish within 1 s"),
    "cannot be pickled": (
        FITTED + "def train(features, target):\n    model = LogisticRegression().fit(features, target)\n"
        "    model.lock = threading.Lock()\n    return model\n",
        "what the training function returned cannot be pickled: TypeError: cannot pickle ",
    ),
}


@pytest.mark.parametrize("name", TRAINING)
def test_a_function_that_fails_ends_the_run_with_its_cause(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, the line on standard error is the cause, and the run's report has it too."""
    text, says = TRAINING[name]
    write(folder, Case("", TRAIN + f"deadline_s = {1 if name == 'hangs' else 60}.0", code(text)))
    code_ = run_command(["run", "--json", "--reports", str(folder / "reports")])
    out, errors = capsys.readouterr()
    assert (code_, out) == (2, "")
    assert says in errors.splitlines()[-1]
    assert "Traceback" not in errors
    (record,) = (folder / "reports").glob("*/run.json")
    told = json.loads(record.read_text(encoding="utf-8"))
    assert told["status"] == "failed"
    assert says.partition(" Hint")[0] in told["decided_by"]
    assert record.with_name("index.html").is_file()
