"""Runs runc for a root that lacks CAP_SYS_RESOURCE: takes the capability out of what runc is asked for, and execs it.

Docker asks for every capability in a privileged container, and runc cannot give what it has not.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

CAPABILITY = "CAP_SYS_RESOURCE"


def without_capability(process: dict[str, Any]) -> dict[str, Any]:
    """A process of the OCI runtime specification, less the capability, in every set of them."""
    sets = process.get("capabilities") or {}
    return {
        **process,
        "capabilities": {name: [c for c in caps or [] if c != CAPABILITY] for name, caps in sets.items()},
    }


def files(argv: list[str]) -> tuple[Path | None, Path | None]:
    """The container's configuration and the process file that these arguments of runc name."""

    def after(flag: str) -> Path | None:
        return Path(argv[argv.index(flag) + 1]) if flag in argv[:-1] else None

    creates = "create" in argv or "run" in argv
    return ((after("--bundle") or Path()) / "config.json" if creates else None), after("--process")


def main(argv: list[str]) -> None:
    config, process = files(argv)
    if config is not None:
        document = json.loads(config.read_text(encoding="utf-8"))
        config.write_text(json.dumps({**document, "process": without_capability(document["process"])}))
    if process is not None:
        process.write_text(json.dumps(without_capability(json.loads(process.read_text(encoding="utf-8")))))
    os.execv(shutil.which("runc") or "/usr/sbin/runc", ["runc", *argv])


if __name__ == "__main__":
    main(sys.argv[1:])
