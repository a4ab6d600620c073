"""Files in an MLflow server's artifact store, by way of its artifact proxy (`mlflow server --serve-artifacts`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from harness.clients import http
from harness.errors import RequestFailed

_API = "/api/2.0/mlflow-artifacts/artifacts"
_BLOCK = 1 << 20


class ArtifactStore:
    """Files and folders by their path in the store; RequestFailed for what the server refuses."""

    def __init__(self, uri: str, *, timeout_s: float = 60.0, transport: httpx.BaseTransport | None = None) -> None:
        self._http = http.client(uri, timeout_s=timeout_s, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def put(self, path: str, content: bytes) -> None:
        """Write one file; what was there is replaced."""
        http.request(self._http, "PUT", _url(path), content=content)

    def get(self, path: str) -> bytes | None:
        """One file, or None if there is none."""
        # A proxy over an object store answers 500 for what is not there: the listing of the folder is sure.
        folder, _, name = path.rpartition("/")
        if name not in [each["path"].rpartition("/")[2] for each in self.list(folder)]:
            return None
        return http.request(self._http, "GET", _url(path)).content

    def put_json(self, path: str, content: Any) -> None:
        self.put(path, json.dumps(content).encode())

    def get_json(self, path: str) -> Any:
        """A JSON file's content, or None if there is none."""
        found = self.get(path)
        return None if found is None else json.loads(found)

    def list(self, path: str) -> list[dict[str, Any]]:
        """What is in a folder: {"path", "is_dir"}; nothing if it is no folder."""
        found = http.request(self._http, "GET", _API, params={"path": path}).json()
        return list(found.get("files", ()))

    def upload(self, local: Path, path: str) -> None:
        """Write a file, or a folder with all that is in it."""
        for file in sorted(local.rglob("*")) if local.is_dir() else [local]:
            if file.is_file():
                within = file.relative_to(local).as_posix() if local.is_dir() else ""
                http.request(self._http, "PUT", _url(f"{path}/{within}".rstrip("/")), content=_blocks(file))

    def download(self, path: str, local: Path) -> None:
        """Read a file, or a folder with all that is in it, to `local`."""
        if found := self.list(path):
            local.mkdir(parents=True, exist_ok=True)
            for each in found:
                name = each["path"].rpartition("/")[2]
                self.download(f"{path}/{name}", local / name)
            return
        local.parent.mkdir(parents=True, exist_ok=True)
        beside = local.with_name(f".{local.name}.part")
        try:
            with self._http.stream("GET", _url(path)) as response, beside.open("wb") as file:
                if response.is_error:
                    response.read()
                http.expect(response)
                for block in response.iter_bytes(_BLOCK):
                    file.write(block)
            beside.replace(local)
        except httpx.TransportError as error:
            raise RequestFailed(f"artifact {path}: {type(error).__name__}: {error}") from error
        finally:
            beside.unlink(missing_ok=True)


def _url(path: str) -> str:
    return f"{_API}/{quote(path)}"


def _blocks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while block := opened.read(_BLOCK):
            yield block
