"""Docker's command line, as the kind world uses it: calls with a timeout, and what a cluster needs of the engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from harness.errors import ConfigError, PlatformError

NEEDED_MEMORY_GIB = 4.0
NEEDED_DISK_GIB = 6.0
_GIB = 2**30
_GET_DOCKER = "install Docker Engine and start it; rehearse doctor shows what is missing"


def docker(*argv: str, timeout_s: float = 60.0) -> str:
    """The output of one command; PlatformError with its last line of errors."""
    try:
        done = subprocess.run(
            ["docker", *argv], capture_output=True, text=True, timeout=timeout_s, check=False, start_new_session=True
        )
    except FileNotFoundError:
        raise ConfigError("--backend kind: there is no docker program here", hint=_GET_DOCKER) from None
    except subprocess.TimeoutExpired as error:
        raise PlatformError(f"docker {argv[0]}: no answer within {timeout_s:g} s", hint=_GET_DOCKER) from error
    if done.returncode != 0:
        raise PlatformError(f"docker {' '.join(argv[:2])}: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    return done.stdout


def check_engine() -> None:
    """ConfigError, one line, if there is no engine, if it may not be used, or if it has too little memory or disk."""
    try:
        found: dict[str, Any] = json.loads(docker("info", "--format", "{{json .}}", timeout_s=20))
    except PlatformError as error:
        raise ConfigError(refusal(error.message), hint=_GET_DOCKER) from error
    if errors := found.get("ServerErrors"):
        raise ConfigError(refusal(str(errors[0])), hint=_GET_DOCKER)
    check_space(_available_memory(), _free_disk(found.get("DockerRootDir", "/")), found.get("DockerRootDir", "/"))


def refusal(reason: str) -> str:
    """Why Docker cannot be used, in one line."""
    if "permission denied" in reason.lower():
        return f"--backend kind: this user may not use Docker ({reason}): add it to the group docker, or use root"
    return f"--backend kind: Docker does not answer ({reason})"


def check_space(memory: float, disk: float, where: str) -> None:
    """ConfigError if less is free than a cluster needs; in bytes."""
    if memory < NEEDED_MEMORY_GIB * _GIB:
        raise ConfigError(
            f"--backend kind: needs {NEEDED_MEMORY_GIB:g} GiB of free memory, there are {memory / _GIB:.1f} GiB"
        )
    if disk < NEEDED_DISK_GIB * _GIB:
        raise ConfigError(
            f"--backend kind: needs {NEEDED_DISK_GIB:g} GiB free in {where}, there are {disk / _GIB:.1f} GiB"
        )


def has_image(name: str) -> bool:
    """Whether the engine has an image."""
    try:
        docker("image", "inspect", "--format", "{{.Id}}", name, timeout_s=20)
    except PlatformError:
        return False
    return True


def is_pulled(name: str) -> bool:
    """Whether an image came from a registry; one that was built here has no digest of a repository."""
    return docker("image", "inspect", "--format", "{{len .RepoDigests}}", name, timeout_s=20).strip() != "0"


def containers_of(cluster: str) -> list[str]:
    """The ids of the containers, also of stopped ones, of a kind cluster."""
    label = f"label=io.x-k8s.kind.cluster={cluster}"
    return docker("ps", "--all", "--quiet", "--filter", label).split()


def host_ports(container: str) -> dict[int, int]:
    """The ports of a container that are published on the loopback address: its port -> the machine's."""
    found = json.loads(docker("inspect", "--format", "{{json .NetworkSettings.Ports}}", container))
    return {int(port.split("/")[0]): int(bound[0]["HostPort"]) for port, bound in found.items() if bound}


def remove_network(name: str) -> None:
    """Remove a network if it is there."""
    if docker("network", "ls", "--quiet", "--filter", f"name=^{name}$").strip():
        docker("network", "rm", name)


def _available_memory() -> float:
    for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("MemAvailable:"):
            return float(line.split()[1]) * 1024
    return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _free_disk(folder: str) -> float:
    """Of the engine's folder; of the root where this user may not look at it."""
    try:
        return float(shutil.disk_usage(folder).free)
    except OSError:
        return float(shutil.disk_usage("/").free)
