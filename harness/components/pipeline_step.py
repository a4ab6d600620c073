"""Runs one step of a pipeline inside of its Pod: fetches its inputs, runs its command, stores what it made.

    python -m harness.components.pipeline_step STORE_URL PATH

PATH, in the artifact store, is the JSON that says what to do (harness.backends.kubernetes.pipeline_launch). The result
is written last: while it is not there, the step is not done.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.clients.artifacts import ArtifactStore
from harness.errors import RequestFailed

SCHEME = "mlflow-artifacts:/"
ERRORS = "REHEARSAL_STEP_ERRORS"
STEP_ENV = {
    "HOME": "/tmp",
    "USER": "rehearsal",  # there is no such user in the image, and some libraries ask for a name
    "TMPDIR": "/tmp",
    "MPLCONFIGDIR": "/tmp",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "GIT_PYTHON_REFRESH": "quiet",  # there is no git in the image
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONWARNINGS": "ignore",
    "PYTHONUNBUFFERED": "1",
}
"""What the image rehearsal/pipeline is told wherever it runs a step."""
CANNOT_START = 64
"""Exit code: the step's description is not in the store."""


def main(argv: list[str]) -> int:
    """Run the step; its exit code."""
    url, path = argv
    with ArtifactStore(url) as store:
        todo = store.get_json(path)
        if todo is None:
            print(f"{path} is not in the artifact store of {url}", file=sys.stderr)
            return CANNOT_START
        return run(todo, store, Path(os.environ.get("TMPDIR", "/tmp")))


def run(todo: Mapping[str, Any], store: ArtifactStore, scratch: Path) -> int:
    """Run a step as its description says; its exit code."""
    _fetch(todo, store)
    errors = scratch / "errors"
    errors.mkdir(exist_ok=True)
    for each in (*todo["artifacts"].values(), *todo["parameters"].values()):
        Path(each["path"]).parent.mkdir(parents=True, exist_ok=True)
    Path(todo["executor_output"]).parent.mkdir(parents=True, exist_ok=True)
    code = subprocess.run(todo["argv"], env={**os.environ, **todo["env"], ERRORS: str(errors)}, check=False).returncode
    if code == 0:
        _store(todo, store)
    elif (told := errors / f"{todo['step']}.json").is_file():
        store.upload(told, todo["error"])
    return code


def _fetch(todo: Mapping[str, Any], store: ArtifactStore) -> None:
    for path, local in todo["downloads"]:
        try:
            store.download(path, Path(local))
        except RequestFailed as error:
            if error.status != 404:
                raise
            print(f"{path}: its step wrote nothing there", file=sys.stderr)  # nor would this machine have a file
    for path, local in todo["archives"]:
        content = store.get(path)
        assert content is not None, path
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            archive.extractall(local)


def _store(todo: Mapping[str, Any], store: ArtifactStore) -> None:
    told = Path(todo["executor_output"])
    written = json.loads(told.read_text(encoding="utf-8")) if told.is_file() else {}
    made = written.get("artifacts", {})
    artifacts = {}
    for name, each in todo["artifacts"].items():
        found = made.get(name, {}).get("artifacts", [{}])[0]
        path = Path(found.get("custom_path") or found.get("uri") or each["path"])
        elsewhere = "://" in str(found.get("uri", ""))
        if not elsewhere and path.exists():
            store.upload(path, each["store"])
        uri = found["uri"] if elsewhere else f"{SCHEME}{each['store']}"
        artifacts[name] = {"uri": uri, "metadata": found.get("metadata", {})}
    parameters = dict(written.get("parameterValues", {}))
    for name, each in todo["parameters"].items():
        if name not in parameters and Path(each["path"]).is_file():
            parameters[name] = _typed(Path(each["path"]).read_text(encoding="utf-8"), each["type"])
    store.put_json(todo["result"], {"parameters": parameters, "artifacts": artifacts})


def _typed(text: str, kind: str) -> Any:
    """A parameter that a step wrote to a file."""
    if kind == "STRING":
        return text
    if kind == "BOOLEAN":
        return text.strip().lower() == "true"
    return json.loads(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
