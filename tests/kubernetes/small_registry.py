"""An image registry on this machine's loopback address, of which Docker needs no more: for a push, and a pull of it."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

_MANIFEST = re.compile(r"/v2/(?P<name>.+)/manifests/(?P<reference>[^/]+)")
_BLOB = re.compile(r"/v2/.+/blobs/(?P<digest>sha256:[0-9a-f]+)")
_UPLOAD = re.compile(r"/v2/(?P<name>.+)/blobs/uploads/(?P<id>[^/]*)")


@dataclass
class Registry:
    """What was pushed: blobs by digest, manifests by "name:tag" and by digest, each with its type."""

    address: str = ""
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    uploads: dict[str, bytes] = field(default_factory=dict)


@contextmanager
def serving() -> Iterator[Registry]:
    """A registry that lives as long as the block."""
    registry = Registry()

    class Handler(_Handler):
        store = registry

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    registry.address = f"127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    """The distribution API, version 2."""

    protocol_version = "HTTP/1.1"
    store: Registry

    def do_GET(self) -> None:
        if urlsplit(self.path).path == "/v2/":
            self._answer(200)
        elif blob := _BLOB.fullmatch(self.path):
            found = self.store.blobs.get(blob["digest"])
            self._answer(404 if found is None else 200, found or b"", {"Docker-Content-Digest": blob["digest"]})
        elif manifest := _MANIFEST.fullmatch(self.path):
            kind, text = self._manifest(manifest["name"], manifest["reference"])
            self._answer(200 if text else 404, text, {"Content-Type": kind, "Docker-Content-Digest": _digest(text)})
        else:
            self._answer(404)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        upload = _UPLOAD.fullmatch(urlsplit(self.path).path)
        assert upload, self.path
        self._uploaded(upload["name"], uuid4().hex, b"")

    def do_PATCH(self) -> None:
        upload = _UPLOAD.fullmatch(urlsplit(self.path).path)
        assert upload, self.path
        self._uploaded(upload["name"], upload["id"], self.store.uploads[upload["id"]] + self._body())

    def do_PUT(self) -> None:
        parts, body = urlsplit(self.path), self._body()
        if upload := _UPLOAD.fullmatch(parts.path):
            blob = self.store.uploads.pop(upload["id"]) + body
            (digest,) = parse_qs(parts.query)["digest"]
            assert digest == _digest(blob)
            self.store.blobs[digest] = blob
            self._answer(201, headers={"Location": f"/v2/{upload['name']}/blobs/{digest}"})
        elif manifest := _MANIFEST.fullmatch(parts.path):
            told = self.headers["Content-Type"], body
            self.store.manifests[f"{manifest['name']}:{manifest['reference']}"] = told
            self.store.manifests[_digest(body)] = told
            self._answer(201, headers={"Docker-Content-Digest": _digest(body)})

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test's own words are enough."""

    def _manifest(self, name: str, reference: str) -> tuple[str, bytes]:
        key = reference if reference.startswith("sha256:") else f"{name}:{reference}"
        return self.store.manifests.get(key, ("text/plain", b""))

    def _uploaded(self, name: str, upload: str, so_far: bytes) -> None:
        self.store.uploads[upload] = so_far
        headers = {"Location": f"/v2/{name}/blobs/uploads/{upload}", "Docker-Upload-UUID": upload}
        self._answer(202, headers={**headers, "Range": f"0-{max(0, len(so_far) - 1)}"})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"
