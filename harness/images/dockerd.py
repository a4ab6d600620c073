"""Starts and stops a Docker engine where nothing else does: on CI machines and in containers without systemd.

    python -m harness.images.dockerd start    if no engine answers: installs docker.io (as root, with apt), starts it
    python -m harness.images.dockerd stop     ends the one that start has started, if no container runs in it

Its state and log lie in state_home()/docker. Where root lacks CAP_SYS_RESOURCE, runc is wrapped (see runc_wrapper).
"""

from __future__ import annotations

import json
import os
import resource
import shlex
import shutil
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from harness.errors import CapabilityMissing, RehearsalError
from harness.images import apt, engine
from harness.runtime.clock import Deadline
from harness.runtime.identity import Identity
from harness.runtime.paths import state_home
from harness.runtime.process import launch
from harness.runtime.wait import wait

START_S = 60.0
STOP_S = 30.0
_NAMED = 3
_SYS_RESOURCE = 24  # its bit in the masks of /proc/<pid>/status, capabilities(7)
_RUNTIME = "rehearsal"
_PACKAGES = ("docker.io", "iptables")


def start() -> str:
    """Make sure that an engine answers; what was done, in words. Raises CapabilityMissing or PlatformError."""
    try:
        return f"Docker runs: {engine.probe().words}"
    except CapabilityMissing as missing:
        if os.environ.get("DOCKER_HOST"):
            raise
        if os.geteuid() != 0:
            raise CapabilityMissing(f"{missing.message} Only root can start one.", hint=missing.hint) from missing
    if shutil.which("dockerd") is None or shutil.which("docker") is None:
        apt.install(*_PACKAGES, what="Docker")
    return f"Docker started: {_launch().words}"


def stop() -> str:
    """End the engine that `start` has started, unless a container runs in it; what was done, in words."""
    identity = _started()
    if identity is None or not identity.alive():
        return "no engine of ours runs"
    if running := engine.docker("ps", "--format", "{{.Names}}").split():
        return f"Docker is left running: somebody uses {', '.join(running[:_NAMED])}"
    os.kill(identity.pid, signal.SIGTERM)
    wait(lambda: not identity.alive(), what="the end of dockerd", deadline=Deadline.after(STOP_S), every_s=0.1)
    _state_file().unlink(missing_ok=True)
    return "Docker stopped"


def lacks_sys_resource(status: str) -> bool:
    """Whether the process with this /proc/<pid>/status can never give a child CAP_SYS_RESOURCE."""
    masks = dict(line.split(":", 1) for line in status.splitlines() if line.startswith("CapBnd:"))
    return not int(masks.get("CapBnd", "0x0").strip(), 16) >> _SYS_RESOURCE & 1


def arguments(wrapper: Path | None, open_files: int) -> list[str]:
    """dockerd's arguments; with a wrapper, `open_files` is the most that a container may be given."""
    if wrapper is None:
        return ["dockerd"]
    return [
        "dockerd",
        f"--add-runtime={_RUNTIME}={wrapper}",
        f"--default-runtime={_RUNTIME}",
        f"--default-ulimit=nofile={open_files}:{open_files}",
    ]


def _launch() -> engine.Engine:
    _home().mkdir(parents=True, exist_ok=True)
    wrapper = None
    if lacks_sys_resource(Path("/proc/self/status").read_text(encoding="ascii")):
        wrapper = _write_wrapper()
    argv = arguments(wrapper, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    child = launch("dockerd", argv, log=_home() / "dockerd.log", env=dict(os.environ))
    _state_file().write_text(json.dumps(asdict(child.identity)), encoding="utf-8")
    return wait(_answering, what="Docker's engine", deadline=Deadline.after(START_S), child=child, every_s=0.2)


def _answering() -> engine.Engine | None:
    try:
        return engine.probe()
    except CapabilityMissing:
        return None


def _write_wrapper() -> Path:
    """A program that runs runc_wrapper with this very Python, isolated: Docker passes no environment that matters."""
    path = _home() / "runc"
    module = Path(__file__).with_name("runc_wrapper.py")
    path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -IS {shlex.quote(str(module))} "$@"\n')
    path.chmod(0o755)
    return path


def _started() -> Identity | None:
    try:
        return Identity(**json.loads(_state_file().read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _home() -> Path:
    return state_home() / "docker"


def _state_file() -> Path:
    return _home() / "dockerd.json"


def main(argv: list[str]) -> int:
    action = {"start": start, "stop": stop}.get(" ".join(argv))
    if action is None:
        print("usage: python -m harness.images.dockerd start|stop", file=sys.stderr)
        return 2
    try:
        print(f"rehearse: {action()}", file=sys.stderr)
    except RehearsalError as error:
        print(f"rehearse: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
