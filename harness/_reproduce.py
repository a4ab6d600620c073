"""The command that offers a load again, quoted for a shell: the same requests at the same times, to the same model."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness._world_options import as_flags, world_options
from harness.config import load_settings
from harness.errors import ConfigError
from harness.lifecycle.slo import SLO
from harness.load.remote import is_loopback
from harness.load.shapes import Shape, Steady
from harness.load.trace import Replay

if TYPE_CHECKING:
    from harness.config import Settings
    from harness.load import Ledger, LoadSpec

LONGEST_S = 600.0
AFTER_S = 5.0  # a generator is told to end so long after its shape does, should it not end by itself


def longest(shape: Shape) -> float:
    """How long a load of this shape may last if nobody says so: as long as the shape, or ten minutes."""
    return LONGEST_S if shape.duration_s is None else max(1.0, shape.duration_s + AFTER_S)


def reproduce(spec: LoadSpec, ledger: Ledger, slo: SLO | None, where: Sequence[str]) -> str:
    """The `rehearse load` of a load that has ended; `where` are the flags that say to whom.

    One without an end of its own is offered again for as long as it lasted. The bodies are those that were sent.
    """
    shape = spec.shape
    if isinstance(shape, Steady) and not shape.hold_s:
        shape = replace(shape, hold_s=round(ledger.duration_s, 3))
    elif spec.max_s != longest(shape):
        where = ["--deadline", str(spec.max_s), *where]
    words = ["rehearse", "load", *_offered(shape), "--arrivals", spec.arrivals, "--seed", str(spec.seed)]
    words += ["--users", str(spec.users), "--payload", str(spec.payload.absolute())]
    pods = spec.workers and "--host" not in where  # workers are Pods of a platform of the command's own
    words += ["--workers", str(spec.workers)] if pods else ["--processes", str(spec.processes)]
    words += ["--protocol", "v2" if spec.path.startswith("/v2") else "v1"]
    if slo is not None:
        words += ["--slo", ",".join(f"{each.name}={getattr(slo, each.name)}" for each in fields(SLO))]
    return shlex.join([*words, *where])


def _offered(shape: Shape) -> list[str]:
    if isinstance(shape, Replay):
        return ["--trace", str(Path(shape.trace).absolute()), "--speed", str(shape.speed)]
    return ["--shape", shape.text()]


def to_host(url: str, host: str, model: str) -> list[str]:
    """The flags for a server, as long as it is there."""
    leave = [] if is_loopback(url) else ["--allow-remote"]
    return ["--host", url, *(["--service-host", host] if host else []), "--model", model, *leave]


def of_settings(settings: Settings) -> list[str]:
    """The flags for a platform of its own with the main job's model; none if `rehearse load` cannot be told which."""
    try:
        told = load_settings(settings.file)
    except ConfigError:  # a file that is complete with flags of another command
        return []
    if (told.data, told.train) != (settings.data, settings.train):
        return []
    config = ["--config", str(settings.file.absolute())] if settings.file else []
    return [*config, *as_flags(world_options(settings))]
