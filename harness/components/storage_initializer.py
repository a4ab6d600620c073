"""KServe's storage initializer for models:/<name>/<version>: downloads a registered version through MLflow's REST API.

    python -P -m harness.components.storage_initializer models:/NAME/VERSION FOLDER

Which server: MLFLOW_TRACKING_URI, by default http://mlflow:5000, the Service of that name in the Pod's own namespace.
It exits with 3 and one line if there is no such version, and with 1 if another try may help. Without MLflow's own
packages, because their import would take longer than the download.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import httpx

from harness.clients.http import client, expect, request
from harness.components._ending import exit_zero_on_sigterm
from harness.components.model_server import CANNOT_LOAD
from harness.errors import RequestFailed

TRACKING_URI = "http://mlflow:5000"
TIMEOUT_S = 30.0
_VERSION = re.compile(r"models:/([^/@]+)/([0-9]+)")
_LOGGED_MODEL = re.compile(r"models:/(m-[0-9a-f]+)/?")


class NotHere(Exception):
    """There is no such model; trying again is of no use."""


def fetch(http: httpx.Client, storage_uri: str, folder: Path) -> int:
    """Download a model version's files below a folder; how many. Errors: NotHere, RequestFailed."""
    root = _artifact_root(http, storage_uri)
    files = list(_files(http, root, PurePosixPath()))
    if PurePosixPath("MLmodel") not in files:
        raise NotHere("there is no MLmodel file among its artifacts")
    for name in files:
        _download(http, f"/api/2.0/mlflow-artifacts/artifacts/{quote(str(root / name))}", folder / name)
    return len(files)


def _artifact_root(http: httpx.Client, storage_uri: str) -> PurePosixPath:
    """Where the version's files lie, below the root of MLflow's artifact proxy."""
    found = _VERSION.fullmatch(storage_uri)
    if found is None:
        raise NotHere("expected models:/<name>/<version>")
    query = {"name": found[1], "version": found[2]}
    source = str(_get(http, "/api/2.0/mlflow/model-versions/get-download-uri", query)["artifact_uri"])
    if logged := _LOGGED_MODEL.fullmatch(source):
        info = _get(http, f"/api/2.0/mlflow/logged-models/{logged[1]}", {})["model"]["info"]
        source = str(info["artifact_uri"])
    if not source.startswith("mlflow-artifacts:/"):
        raise NotHere(f"its files lie at {source}, and not behind the artifact proxy of the tracking server")
    return PurePosixPath(source.removeprefix("mlflow-artifacts:").lstrip("/"))


def _files(http: httpx.Client, root: PurePosixPath, folder: PurePosixPath) -> list[PurePosixPath]:
    listed = _get(http, "/api/2.0/mlflow-artifacts/artifacts", {"path": str(root / folder)}).get("files", [])
    found: list[PurePosixPath] = []
    for entry in listed:
        path = folder / PurePosixPath(entry["path"]).name
        found += _files(http, root, path) if entry["is_dir"] else [path]
    return found


def _get(http: httpx.Client, path: str, query: dict[str, str]) -> dict[str, Any]:
    body: dict[str, Any] = request(http, "GET", path, params=query).json()
    return body


def _download(http: httpx.Client, url: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with http.stream("GET", url) as response, target.open("wb") as file:
            expect(response)
            for block in response.iter_bytes():
                file.write(block)
    except httpx.TransportError as error:
        raise RequestFailed(f"GET {url}: {type(error).__name__}: {error}") from error


def main(argv: list[str]) -> None:
    """Download, and say in one line why not; SystemExit(3) if no other try would help."""
    exit_zero_on_sigterm()
    storage_uri, folder = argv
    tracking_uri = os.environ.get("MLFLOW_TRACKING_URI") or TRACKING_URI
    try:
        with client(tracking_uri, timeout_s=TIMEOUT_S) as http:
            count = fetch(http, storage_uri, Path(folder))
    except NotHere as error:
        _give_up(storage_uri, str(error), CANNOT_LOAD)
    except RequestFailed as error:
        _give_up(storage_uri, error.message, CANNOT_LOAD if error.status in (400, 404) else 1)
    print(f"{storage_uri}: {count} files", flush=True)


def _give_up(storage_uri: str, reason: str, code: int) -> None:
    print(f"model {storage_uri} cannot be loaded: {reason}", file=sys.stderr, flush=True)
    raise SystemExit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
