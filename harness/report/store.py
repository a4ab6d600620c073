"""run.json: written whole or not at all, without secrets; read with a clear error."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.errors import UsageError
from harness.report.record import RunRecord
from harness.runtime.redact import redact, redact_text

SCHEMA_VERSION = 1
DEPTHS = ("*", "*/*", "*/*/*", "*/*/*/*")  # a run of its own, one of a test session, one of a night's part


def write_record(record: RunRecord, folder: Path) -> Path:
    """Write folder/run.json; returns its path."""
    return write_text(folder / "run.json", record_text(record) + "\n")


def record_text(record: RunRecord) -> str:
    """What run.json says: secrets masked, null for the numbers that JSON lacks."""
    data = finite(redact(record.model_dump(mode="json")))
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False)


def write_text(target: Path, text: str) -> Path:
    """Write beside the target and rename, so that a reader never sees half a file; returns the target."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)
    return target


def redact_logs(folder: Path) -> None:
    """Mask the secrets that the run's programs, the user's own code among them, have printed or answered."""
    for file in [*folder.glob("logs/*.log"), *folder.glob("jobs/*")]:
        with contextlib.suppress(OSError):
            text = file.read_text(encoding="utf-8", errors="replace")
            if (clean := redact_text(text)) != text:
                write_text(file, clean)


def load_record(path: Path) -> RunRecord:
    """Read a run's folder or its run.json. UsageError: absent, not JSON, another schema version, or a wrong field."""
    file = path / "run.json" if path.is_dir() else path
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(
            f"{file} does not exist.", hint="Give a run folder that has a run.json, such as reports/<run>."
        ) from error
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{file} cannot be read as JSON: {error}.", hint="The file is damaged; run the rehearsal again."
        ) from error
    return _validated(data, file)


def read_runs(home: Path) -> Iterator[RunRecord]:
    """Every run below a folder of runs that this version can read; another version's are left out."""
    for depth in DEPTHS:
        for file in sorted(home.glob(f"{depth}/run.json")):
            with contextlib.suppress(UsageError):
                yield load_record(file)


def finite(value: Any) -> Any:
    """A copy of JSON-like data with None for NaN and the infinities."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def _validated(data: object, file: Path) -> RunRecord:
    version = data.get("schema_version", "none") if isinstance(data, dict) else "none"
    if version != SCHEMA_VERSION:
        raise UsageError(
            f"{file} has schema version {version}; this program reads version {SCHEMA_VERSION}.",
            hint="Render it with the version of rehearsal that wrote it (see `versions` in the file).",
        )
    try:
        return RunRecord.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"{file} is not a run record: {place}: {first['msg']} ({error.error_count()} problems).",
            hint="The file was changed by hand, or written by another version; run the rehearsal again.",
        ) from error
