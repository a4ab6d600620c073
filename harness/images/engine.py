"""The Docker engine: what there is of it, what it lacks in one line each, and the one way to call it.

Starting one of its own is harness.images.dockerd's work; here nothing is changed, so that `rehearse doctor` may ask.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.errors import CapabilityMissing, PlatformError

GIB = 1024**3
RUN_MEMORY_GIB = 5.0
"""Free memory that the whole platform in one node takes, under load, with a margin."""
RUN_DISK_GIB = 8.0
"""What one node writes: its unpacked images, databases and logs."""

ASK_TIMEOUT_S = 20.0
WORK_TIMEOUT_S = 600.0
_NOTHING = "rehearsal/nothing:1"
_EMPTY_TAR = bytes(10_240)

START = "python -m harness.images.dockerd start"
_GET = "install Docker Engine (Debian, as root: apt-get install docker.io) and start it"
_JOIN = "sudo usermod -aG docker $USER, then log in again; or run as root"
_PRIVILEGED = (
    "let the engine run as root with all capabilities; if root itself lacks CAP_SYS_RESOURCE here, stop that engine "
    f"and run: {START}"
)


@dataclass(frozen=True)
class Engine:
    """A running engine; `root` is its data folder (on its own machine), sizes are bytes, None where not to be known."""

    version: str
    root: str
    memory: int
    rootless: bool
    cgroup: str
    free_disk: int | None = None
    free_memory: int | None = None

    @property
    def words(self) -> str:
        disk = f", {self.free_disk / GIB:.0f} GiB free" if self.free_disk is not None else ""
        return f"{self.version} (cgroup v{self.cgroup}, {self.memory / GIB:.0f} GiB memory{disk})"


def docker(
    *argv: str,
    stdin: bytes | None = None,
    timeout_s: float = WORK_TIMEOUT_S,
) -> str:
    """What `docker ARGV` prints.

    Raises CapabilityMissing if there is no engine to ask, PlatformError with its last line for all else.
    """
    done = _call(argv, stdin, timeout_s)
    if done.returncode == 0:
        return done.stdout.decode(errors="replace")
    said = done.stderr.decode(errors="replace") or done.stdout.decode(errors="replace")
    raise refusal(said) or PlatformError(f"docker {' '.join(argv[:3])}: {_last_line(said)}.")


def succeeds(*argv: str, timeout_s: float = ASK_TIMEOUT_S) -> bool:
    """Whether `docker ARGV` ends with exit code 0."""
    return _call(argv, None, timeout_s).returncode == 0


def probe() -> Engine:
    """The engine that `docker` reaches; CapabilityMissing says in one line what is missing and how to get it."""
    try:
        facts = json.loads(docker("info", "--format", "{{json .}}", timeout_s=ASK_TIMEOUT_S))
    except PlatformError as error:
        raise CapabilityMissing(f"The Docker engine does not answer: {error.message}", hint=_start_hint()) from error
    # A client without an engine prints its own half with exit code 0 in some versions.
    if not facts.get("ServerVersion"):
        raise refusal(" ".join(facts.get("ServerErrors") or [])) or CapabilityMissing(
            "The Docker engine does not answer.", hint=_start_hint()
        )
    return engine_of(facts, _free_disk(str(facts.get("DockerRootDir", ""))), _free_memory() if _is_local() else None)


def engine_of(facts: Mapping[str, object], free_disk: int | None = None, free_memory: int | None = None) -> Engine:
    """An engine from what `docker info` tells of it."""
    options = facts.get("SecurityOptions")
    marks = options if isinstance(options, list) else []
    return Engine(
        version=str(facts["ServerVersion"]),
        root=str(facts.get("DockerRootDir", "")),
        memory=int(str(facts.get("MemTotal", 0))),
        rootless=any("name=rootless" in str(mark) for mark in marks),
        cgroup=str(facts.get("CgroupVersion") or "1"),
        free_disk=free_disk,
        free_memory=free_memory,
    )


def require_engine() -> Engine:
    """The engine, if it runs and starts privileged containers, as a node of kind is one; else CapabilityMissing."""
    engine = probe()
    if reason := _privileged_refusal():
        raise CapabilityMissing(f"Docker cannot start a privileged container: {reason}.", hint=_PRIVILEGED)
    return engine


def require_room(engine: Engine, *, memory_gib: float = RUN_MEMORY_GIB, disk_gib: float = RUN_DISK_GIB) -> None:
    """CapabilityMissing, with both numbers, where the engine's machine has too little memory or disk."""
    memory = engine.memory if engine.free_memory is None else min(engine.memory, engine.free_memory)
    if memory < memory_gib * GIB:
        raise CapabilityMissing(
            f"Too little memory: {memory_gib:g} GiB free are needed, {memory / GIB:.1f} GiB are here.",
            hint="stop other programs or clusters (rehearse gc), or give the machine more",
        )
    if engine.free_disk is not None and engine.free_disk < disk_gib * GIB:
        raise CapabilityMissing(
            f"Too little disk: {disk_gib:g} GiB free are needed in {engine.root}, "
            f"{engine.free_disk / GIB:.1f} GiB are here.",
            hint="docker system prune, or move Docker's data-root to a larger disk",
        )


def refusal(said: str) -> CapabilityMissing | None:
    """What docker's words mean if there is no engine to talk to; None if they are about something else."""
    low = said.lower()
    if "permission denied" in low and ("docker daemon socket" in low or "docker.sock" in low or "docker api" in low):
        return CapabilityMissing("No permission to use Docker's socket.", hint=_JOIN)
    if "cannot connect to the docker daemon" in low or "is the docker daemon running" in low:
        return CapabilityMissing("The Docker engine is not running.", hint=_start_hint())
    if "error during connect" in low or "failed to connect to the docker api" in low:
        return CapabilityMissing(f"The Docker engine cannot be reached: {_last_line(said)}.", hint=_start_hint())
    return None


def _privileged_refusal() -> str:
    """Why a privileged container cannot be started; "" if it can. An empty image tells: only its program is missing."""
    if not docker("image", "ls", "--quiet", _NOTHING, timeout_s=ASK_TIMEOUT_S).strip():
        docker("import", "-", _NOTHING, stdin=_EMPTY_TAR, timeout_s=ASK_TIMEOUT_S)
    argv = ("run", "--rm", "--privileged", "--network=none", _NOTHING, "/nothing")
    said = _call(argv, None, ASK_TIMEOUT_S).stderr.decode(errors="replace")
    return "" if "no such file or directory" in said else _reason(said)


def _call(argv: tuple[str, ...], stdin: bytes | None, timeout_s: float) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["docker", *argv], input=stdin or b"", capture_output=True, timeout=timeout_s, check=False
        )
    except FileNotFoundError as error:
        raise CapabilityMissing("Docker is not here: no `docker` on PATH.", hint=_GET) from error
    except subprocess.TimeoutExpired as error:
        raise PlatformError(f"docker {' '.join(argv[:3])}: no answer within {timeout_s:g} s.") from error


def _start_hint() -> str:
    if shutil.which("dockerd") is None:
        return _GET
    return f"sudo systemctl start docker; without systemd, as root: {START}"


def _reason(said: str) -> str:
    """The innermost cause of a line such as "failed to create: runc create failed: unable to apply caps: reason"."""
    line = next((line for line in said.splitlines() if "error" in line.lower()), _last_line(said))
    parts = [part for part in line.strip().rstrip(".").removesuffix(": unknown").split(": ") if part]
    return ": ".join(parts[-2:])


def _last_line(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip() and "--help" not in line]
    return lines[-1].rstrip(".") if lines else "no word on why"


def _is_local() -> bool:
    return os.environ.get("DOCKER_HOST", "unix://").startswith("unix://")


def _free_disk(root: str) -> int | None:
    if not (root and _is_local() and Path(root).is_dir()):
        return None
    return shutil.disk_usage(root).free


def _free_memory() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    sizes = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return sizes["MemAvailable"] * 1024 if "MemAvailable" in sizes else None
