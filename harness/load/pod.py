"""What a Pod of a distributed load runs: Locust, and its files over HTTP, until the Pod is deleted.

    python -m harness.load.pod -f /load/steady.py --worker --master-host … --records /records

GET /state    {"running", "code", "files", "audit": {"late_p99_ms", "cpu", "age_s"} or null, "log": its last lines}
GET /<file>   a file of the folder of --records, as it is now
POST /stop    SIGTERM to Locust: a master ends its workers with it
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from harness.load.records import read_json

PORT = 8089
LOG_LINES = 40
_BLOCK = 1 << 20


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


def server(generator: Generator, port: int) -> ThreadingHTTPServer:
    """Answers for a generator on all addresses of the Pod; the API server's proxy asks it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.lstrip("/")
            if name == "state":
                self._answer(json.dumps(generator.state()).encode())
            elif name in generator.state()["files"]:
                self._send(generator.folder / name)
            else:
                self.send_error(404)

        def do_POST(self) -> None:
            if self.path == "/stop":
                generator.stop()
                self._answer(b"{}")
            else:
                self.send_error(404)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: the Pod's log is Locust's."""

        def _answer(self, content: bytes) -> None:
            self._head(len(content))
            self.wfile.write(content)

        def _send(self, path: Path) -> None:
            with path.open("rb") as file:
                left = os.fstat(file.fileno()).st_size
                self._head(left)
                while left and (block := file.read(min(left, _BLOCK))):
                    self.wfile.write(block)
                    left -= len(block)

        def _head(self, length: int) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(length))
            self.end_headers()

    return ThreadingHTTPServer(("", port), Handler)


def main(argv: Sequence[str], port: int = PORT) -> int:
    """Run until SIGTERM, which is the Pod's deletion."""
    folder = Path(argv[argv.index("--records") + 1])
    folder.mkdir(parents=True, exist_ok=True)
    generator = Generator(argv, folder)
    serving = server(generator, port)
    signal.signal(signal.SIGTERM, lambda *_: Thread(target=serving.shutdown).start())
    serving.serve_forever(poll_interval=0.1)
    generator.stop()
    generator.wait(10)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
