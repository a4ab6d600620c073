"""A real Docker and a registry on loopback: what is upstream's is pulled, and what the registry lacks is told."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from harness.errors import UsageError
from harness.images import engine
from harness.images.builder import Builder, Source
from harness.images.catalogue import Catalogue, Item
from harness.images.graph import How
from harness.images.making import LABEL
from harness.runtime.events import Event

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def image() -> tuple[bytes, dict[str, bytes]]:
    """The manifest of an image with one file, and its blobs by digest."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("made-upstream"))
    packed = gzip.compress(layer.getvalue(), mtime=0)
    rootfs = {"type": "layers", "diff_ids": [digest(layer.getvalue())]}
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json"} | described(config),
        "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip"} | described(packed)],
    }
    return json.dumps(manifest).encode(), {digest(config): config, digest(packed): packed}


def described(data: bytes) -> dict[str, object]:
    return {"size": len(data), "digest": digest(data)}


class Registry(BaseHTTPRequestHandler):
    """The reading half of the registry protocol, version 2, over one image: upstream:v1."""

    protocol_version = "HTTP/1.1"
    manifest, blobs = image()
    NOT_FOUND: ClassVar = {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}

    def do_GET(self) -> None:
        folder, _, reference = self.path.rpartition("/")
        if self.path == "/v2/":
            self._answer(200, b"{}", "application/json")
        elif folder == "/v2/upstream/manifests" and reference in ("v1", digest(self.manifest)):
            self._answer(200, self.manifest, MANIFEST)
        elif folder == "/v2/upstream/blobs" and reference in self.blobs:
            self._answer(200, self.blobs[reference], "application/octet-stream")
        else:
            self._answer(404, json.dumps(self.NOT_FOUND).encode(), "application/json")

    def do_HEAD(self) -> None:
        self.do_GET()

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        self.send_header("Docker-Content-Digest", digest(body))
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The host of the registry; its image goes out of Docker at the end. The cache is this test's alone."""
    monkeypatch.setenv("REHEARSAL_CACHE", str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        host = f"127.0.0.1:{server.server_address[1]}"
        try:
            yield host
        finally:
            engine.succeeds("image", "rm", "--force", f"{host}/upstream:v1")
            server.shutdown()
            thread.join()


def get(name: str, source: Source) -> tuple[How, int, list[str]]:
    """How the image is had after a build, its bytes, and what was done for it."""
    item = Item(name, "image", name, "layers", (), {"upstream": True})
    events: list[Event] = []
    state = Builder(Catalogue({name: item}, Path()), source, events.append).get([name])[name]
    return state.how, state.size, [event.message for event in events if event.kind == "step.passed"]


def test_an_image_is_pulled_once_and_is_upstreams(registry: str) -> None:
    """With no label of ours: nothing of it was made here."""
    name = f"{registry}/upstream:v1"
    how, _, done = get(name, Source.AUTO)
    assert (how, done) == (How.PULLED, ["pulled"])
    [found] = json.loads(engine.docker("image", "inspect", name))
    config = json.loads(Registry.blobs[json.loads(Registry.manifest)["config"]["digest"]])
    assert found["RootFS"]["Layers"] == config["rootfs"]["diff_ids"]
    assert LABEL not in (found["Config"].get("Labels") or {})
    assert get(name, Source.AUTO)[2] == []


def test_what_the_registry_does_not_have_is_told_in_its_words(registry: str) -> None:
    """With --pull nothing is built in its place."""
    with pytest.raises(UsageError, match=r"upstream:v2 cannot be pulled: .*manifest.* Hint: without --pull"):
        get(f"{registry}/upstream:v2", Source.PULL)
