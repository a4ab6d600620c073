"""The gateway's access log, read as it grows: one JSON object a request, one line each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple


class GatewayEntry(NamedTuple):
    """What the gateway says of one request; `flags` is empty unless it answered by itself, and says why it did."""

    code: int
    flags: str
    revision: str
    ms: float
    attempts: int


class AccessLogTail:
    """Collects the entries of one load, from the log's end when this is made; half a line is left for later."""

    def __init__(self, path: Path, load_id: str) -> None:
        self.entries: dict[int, list[GatewayEntry]] = {}  # sequence -> entries, more than one if it was sent again
        self._path = path
        self._prefix = f"{load_id}-"
        self._offset = path.stat().st_size if path.exists() else 0

    def read(self) -> None:
        """Read the lines that were written since the last time."""
        if not self._path.exists():
            return
        with self._path.open("rb") as log:
            log.seek(self._offset)
            lines = log.read().split(b"\n")
        lines.pop()  # what follows the last line's end: nothing, or half a line
        self._offset += sum(map(len, lines)) + len(lines)
        mine = self._prefix.encode()
        for line in lines:
            if mine in line:
                self._take(line)

    def _take(self, line: bytes) -> None:
        entry = json.loads(line)
        request_id = str(entry.get("id") or "")
        sequence = request_id[len(self._prefix) :]
        if request_id.startswith(self._prefix) and sequence.isdecimal():
            self.entries.setdefault(int(sequence), []).append(_entry(entry))


def requests_to(path: Path, host: str) -> int:
    """How many requests the log has for a host."""
    if not path.exists():
        return 0
    with path.open("rb") as log:
        whole = (line for line in log if line.endswith(b"\n") and host.encode() in line)
        return sum(json.loads(line).get("host") == host for line in whole)


def _entry(fields: dict[str, Any]) -> GatewayEntry:
    flags, revision, cluster = (_text(fields.get(name)) for name in ("flags", "revision", "cluster"))
    return GatewayEntry(
        int(fields.get("code") or 0),
        flags,
        revision or cluster.rpartition("/")[2],
        float(fields.get("ms") or 0.0),
        int(fields.get("attempts") or 0),
    )


def _text(value: object) -> str:
    """Envoy writes null or "-" for what there is none of."""
    return "" if value in (None, "-") else str(value)
