"""Runs a whole training inside of the Pod of a TrainJob: fetches, runs all steps in one process, stores each output.

What a Pod is told is the JSON at `path` in the artifact store (harness.backends.kubernetes.train_job).
"""

from __future__ import annotations

import io
import json
import os
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.clients.artifacts import ArtifactStore
from harness.components.pipeline_step import ERRORS, SCHEME
from harness.lifecycle.sequence import Sequence


def main(url: str, path: str) -> None:
    """Run a training; SystemExit with the step's error, which is in the store too."""
    with ArtifactStore(url) as store:
        todo = store.get_json(path)
        if todo is None:
            sys.exit(f"{path} is not in the artifact store of {url}")
        run(todo, store, Path.cwd())


def run(todo: Mapping[str, Any], store: ArtifactStore, scratch: Path) -> None:
    """Run a training as its description says, with its files below `scratch`."""
    for stored, local in todo["downloads"]:
        store.download(stored, Path(local))
    for stored, local in todo["archives"]:
        with zipfile.ZipFile(io.BytesIO(store.get(stored) or b"")) as archive:
            archive.extractall(local)
    errors = scratch / "errors"
    errors.mkdir(exist_ok=True)
    os.environ[ERRORS] = str(errors)
    sequence = Sequence(todo["arguments"], scratch)

    def ended(task: str, outputs: dict[str, dict[str, Any]]) -> None:
        artifacts = {}
        for name, metadata in outputs.items():
            stored = f"{todo['folder']}/{task}/{name}"
            store.upload(Path(sequence.path(task, name)), stored)
            artifacts[name] = {"uri": f"{SCHEME}{stored}", "metadata": metadata}
        store.put_json(f"{todo['folder']}/{task}/result.json", {"artifacts": artifacts})
        print(f"{task}: done", flush=True)

    try:
        sequence.run(ended)
    finally:
        for told in errors.glob("*.json"):
            content = {"step": told.stem, **json.loads(told.read_text(encoding="utf-8"))}
            store.put_json(f"{todo['folder']}/error.json", content)
