"""Images of layers: a parent, tar files above it, and what the image says of itself; built without a network."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.images.archive import LAYER, pack
from harness.images.cache import digest_of_files
from harness.images.catalogue import Catalogue, Item
from harness.images.making import LABEL, Making

_FORMAT = "layers 1"
_TIMEOUT_S = 600
_ASK_TIMEOUT_S = 10
_SCRATCH = "scratch"


def inputs(item: Item, catalogue: Catalogue) -> list[str]:
    """The image's own files; its parts and its parent are needs."""
    own = catalogue.folder / item.options["files"] if "files" in item.options else None
    return [_FORMAT, *(digest_of_files((p for p in own.rglob("*") if p.is_file()), own) if own else ())]


def make(making: Making) -> None:
    """Build the image: its parts' layers in their order, its own files, then the commands, on the parent."""
    options, context = making.item.options, making.scratch()
    added = []
    for number, part in enumerate(options.get("layers", ())):
        added.append(f"{number}.tar")
        os.link(making.part(part) / LAYER, context / added[-1])
    if "binaries" in options:
        added.append("binaries.tar")
        pack(_laid_out(making), context / added[-1])
    if "files" in options:
        added.append("files.tar")
        pack(making.catalogue.folder / options["files"], context / added[-1])
    (context / "Dockerfile").write_text(dockerfile(options, added), encoding="utf-8")
    build(making, context, making.item.name)


def _laid_out(making: Making) -> Path:
    root = making.folder / ".binaries"
    for path, source in making.item.options["binaries"].items():
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(making.binary(source), target)
    return root


def dockerfile(options: Mapping[str, Any], added: Sequence[str]) -> str:
    """The Dockerfile of an entry of the catalogue, with these tar files unpacked onto its parent."""
    lines = [f"FROM {options.get('parent', _SCRATCH)}"]
    lines += [f"ADD {name} /" for name in added]
    lines += ["USER 0:0", *(f"RUN {command}" for command in options["run"])] if "run" in options else []
    lines += [f"ENV {name}={json.dumps(value)}" for name, value in options.get("env", {}).items()]
    lines += [f"WORKDIR {options['workdir']}"] if "workdir" in options else []
    lines += [f"USER {options['user']}:{options.get('group', options['user'])}"] if "user" in options else []
    lines += [f"STOPSIGNAL {options['stopsignal']}"] if "stopsignal" in options else []
    lines += [f"ENTRYPOINT {json.dumps(options['entrypoint'])}"] if "entrypoint" in options else []
    lines += [f"CMD {json.dumps(options['command'])}"] if "command" in options else []
    return "\n".join(lines) + "\n"


def build(making: Making, context: Path, name: str) -> None:
    """`docker build` of a folder, with the label of the item's key; RUN has no network."""
    argv = ["docker", "build", "--network=none", "--quiet", "--label", f"{LABEL}={making.key}", "--tag", name]
    making.run(*argv, str(context), env={**os.environ, **builder()}, timeout_s=_TIMEOUT_S)


def builder() -> dict[str, str]:
    """The classic builder where BuildKit's client is missing: asked for without it, `docker build` would fail."""
    asked = ["docker", "buildx", "version"]
    done = subprocess.run(asked, capture_output=True, timeout=_ASK_TIMEOUT_S, check=False)
    return {} if done.returncode == 0 else {"DOCKER_BUILDKIT": "0"}
