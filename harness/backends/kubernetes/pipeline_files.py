"""What a pipeline in a cluster has in the artifact store: the user's file and sources, and what comes back."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from harness.backends.kubernetes.pipeline_job import Cluster
from harness.backends.kubernetes.pipeline_launch import IN_POD, SCHEME, Files
from harness.clients.artifacts import ArtifactStore
from harness.errors import ConfigError
from harness.lifecycle._watch import Todo
from harness.lifecycle.dataset import RAND
from harness.lifecycle.pipeline import arguments

STORE = "rehearsal-pipelines"
"""The folder of the artifact store that pipelines use; MLflow's own folders there are named by experiment."""

_SOURCES_MIB = 20
_NOT_SOURCES = {"__pycache__", "node_modules"}


@dataclass(frozen=True)
class Fetch:
    """The local copy of an artifact in the store."""

    store: ArtifactStore
    folder: Path

    def __call__(self, uri: str) -> Path:
        path = self.folder / uri.removeprefix(SCHEME)
        if not path.exists():
            self.store.download(uri.removeprefix(SCHEME), path)
        return path


def in_cluster(todo: Todo, cluster: Cluster, store: ArtifactStore) -> tuple[dict[str, Any], Files]:
    """The pipeline's arguments as they hold in Pods; the user's file and sources are put into the store for them."""
    spec, plain, archives = todo.spec, {}, {}
    values = dict(todo.arguments)
    if spec.dataset.source != RAND:
        name = f"{values['source_digest'][:16]}/{Path(spec.dataset.source).name}"
        plain[f"{STORE}/data/{name}"] = f"{IN_POD}/data/{name}"
        store.upload(Path(spec.dataset.source), f"{STORE}/data/{name}")
        values["dataset"] = replace(spec.dataset, source=f"{IN_POD}/data/{name}").to_json()
    told = replace(spec, tracking_uri=cluster.store_in_pods)
    if spec.source_root:
        path = f"{STORE}/{uuid4().hex}/sources.zip"
        store.put(path, _sources(Path(spec.source_root)))
        archives[path] = f"{IN_POD}/source"
        told = replace(told, source_root=f"{IN_POD}/source")
    values |= {key: each for key, each in arguments(told).items() if key in ("training", "tracking")}
    return values, Files(plain, archives)


def _sources(root: Path) -> bytes:
    """The Python files below a folder, for the user's training function; hidden folders and environments are left."""
    content, size = io.BytesIO(), 0
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in _python_files(root):
            size += path.stat().st_size
            if size > _SOURCES_MIB << 20:
                raise ConfigError(
                    f"{root}: more than {_SOURCES_MIB} MiB of Python files",
                    hint="run from the folder of the training function, or use the local pipeline runner.",
                )
            archive.write(path, path.relative_to(root).as_posix())
    return content.getvalue()


def _python_files(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        if "pyvenv.cfg" in files:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _NOT_SOURCES)
        yield from (Path(folder, name) for name in sorted(files) if name.endswith(".py"))
