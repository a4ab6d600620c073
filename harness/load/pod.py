"""What a Pod of a distributed load runs: Locust, and its files over HTTP, until the Pod is deleted.

    python -m harness.load.pod -f /load/steady.py --worker --master-host … --records /records

GET /state    {"running", "code", "files", "audit": {"late_p99_ms", "cpu", "age_s"} or null, "log": its last lines}
GET /<file>   a file of the folder of --records, as it is now
POST /stop    {"token"}: SIGTERM to Locust: a master ends its workers with it

Whoever reaches the Pod may read how the load is doing, but only the run that made it may end it. The Pod knows the
token's digest (REHEARSAL_STOP_DIGEST), so nothing in the cluster has the token.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Thread
from typing import Any

from harness.components._json_server import JsonHandler, JsonServer
from harness.load.records import read_json

PORT = 8089
LOG_LINES = 40
STOP_DIGEST = "REHEARSAL_STOP_DIGEST"
MOST_TOKEN = 1024
_BLOCK = 1 << 20


def digest(token: str) -> str:
    """What a Pod knows of the token that ends its load."""
    return hashlib.sha256(token.encode()).hexdigest()


def may_stop(body: bytes, stop_digest: str) -> bool:
    """Whether a request to end the load has the token of the run that made it."""
    try:
        told = digest(str(json.loads(body)["token"]))
    except (ValueError, LookupError, TypeError):
        return False
    return hmac.compare_digest(told, stop_digest)


class Generator:
    """Locust as a child whose output is passed on; its folder, and what there is to say of both."""

    def __init__(self, argv: Sequence[str], folder: Path) -> None:
        self.folder = folder
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        command = [sys.executable, "-P", "-m", "locust", *argv]
        self._child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        Thread(target=self._pass_on, name="locust-log", daemon=True).start()

    def stop(self) -> None:
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)

    def wait(self, timeout_s: float) -> None:
        self._child.wait(timeout_s)

    def state(self) -> dict[str, Any]:
        """Whether it runs, what it left behind so far, and its last audit of itself with the audit's age."""
        code = self._child.poll()
        files = sorted(path.name for path in self.folder.glob("*") if path.is_file())
        return {"running": code is None, "code": code, "files": files, "audit": self._audit(), "log": list(self._log)}

    def _audit(self) -> dict[str, float] | None:
        for path in self.folder.glob("audit-*.json"):
            found = read_json(path)
            return {**found, "age_s": time.monotonic() - found["at"]}
        return None

    def _pass_on(self) -> None:
        for line in self._child.stdout or ():
            self._log.append(line.rstrip("\n"))
            sys.stdout.write(line)
            sys.stdout.flush()


def server(generator: Generator, port: int, stop_digest: str, host: str = "") -> JsonServer:
    """Answers for a generator on all addresses of the Pod; the API server's proxy asks it."""

    class Handler(JsonHandler, BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.lstrip("/")
            if name == "state":
                self.answer(200, generator.state())
            elif name in generator.state()["files"]:
                self._send(generator.folder / name)
            else:
                self.answer(404)

        def do_POST(self) -> None:
            length = self.length()
            if self.path != "/stop" or length is None or length > MOST_TOKEN:
                self.close_connection = True  # what is left of the body is not read
                self.answer(404 if self.path != "/stop" else 400)
            elif may_stop(self.rfile.read(length), stop_digest):
                generator.stop()
                self.answer(200, {})
            else:
                self.answer(403, {"error": "this is not the token of the run that made the load"})

        def _send(self, path: Path) -> None:
            with path.open("rb") as file:
                left = os.fstat(file.fileno()).st_size
                self.send_response_only(200)
                self.send_header("content-length", str(left))
                self.end_headers()
                while left and (block := file.read(min(left, _BLOCK))):
                    self.wfile.write(block)
                    left -= len(block)

    return JsonServer((host, port), Handler)


def main(argv: Sequence[str], port: int = PORT) -> int:
    """Run until SIGTERM, which is the Pod's deletion."""
    folder = Path(argv[argv.index("--records") + 1])
    folder.mkdir(parents=True, exist_ok=True)
    generator = Generator(argv, folder)
    serving = server(generator, port, os.environ[STOP_DIGEST])
    signal.signal(signal.SIGTERM, lambda *_: Thread(target=serving.shutdown).start())
    serving.serve_forever(poll_interval=0.1)
    generator.stop()
    generator.wait(10)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
