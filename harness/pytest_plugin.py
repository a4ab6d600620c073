"""The pytest plug-in: the `platform` fixture, a run folder for each test, and skips for what a backend cannot do."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from harness._pytest_findings import RECORD, note
from harness.errors import CapabilityMissing, ClusterUnfit, ConfigError, StepFailed

if TYPE_CHECKING:
    from harness.backends.kubernetes.world import WorldOptions
    from harness.backends.session import Session
    from harness.chaos.chaos import Chaos
    from harness.platform import Platform

BACKENDS = ("embedded", "containers", "kind", "kubernetes")
_WORKER = "PYTEST_XDIST_WORKER"
_FAILURE = pytest.StashKey[str]()
_FOLDER = pytest.StashKey[Path]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("rehearsal", "rehearsing ML releases")
    group.addoption("--backend", choices=BACKENDS, default="embedded", help="the world that scenarios run in")
    group.addoption("--keep", action="store_true", help="keep the run folders of passed tests, and the world")
    group.addoption("--context", default=None, help="context of the kubeconfig (--backend kubernetes)")
    group.addoption("--namespaces", default=None, help="namespaces to work in: production=team-a,... (kubernetes)")
    group.addoption("--install", action="store_true", help="install what the cluster lacks, cluster-wide (kubernetes)")
    group.addoption("--reuse", action="store_true", help="take the world that was kept, and keep it (kind, containers)")
    group.addoption("--allow-remote", action="store_true", help="let load leave this machine (kubernetes)")
    group.addoption("--gpus", type=int, default=0, help="devices that the node says it has (embedded)")
    group.addoption("--image-prefix", default="", help="the registry that has our images (--backend kubernetes)")
    if not _has_plugin("pytest_kind"):  # it has this option as well
        group.addoption("--kubeconfig", default=None, help="KUBECONFIG or ~/.kube/config if not given")
    group.addoption("--runner", default="auto", help="who runs pipelines: auto, local, docker, cluster or trainer")
    group.addoption("--reports", default=None, help="folder of the run folders (default: REHEARSAL_RUNS or ./reports)")


def pytest_configure(config: pytest.Config) -> None:
    mark = "fault(name, phase='watching', aim='', **settings): the fault that the fixture chaos puts into a rollout"
    config.addinivalue_line("markers", mark)
    # After all entry points: its fixture kind_cluster is then taken instead of pytest-kind's, which downloads kind.
    from harness import _pytest_findings, _pytest_kind

    config.pluginmanager.register(_pytest_kind, "rehearsal-kind")
    config.pluginmanager.register(_pytest_findings, "rehearsal-findings")


def _has_plugin(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def world_options(config: pytest.Config) -> WorldOptions:
    """The world that the options of this session name; a mistake ends the session with one line."""
    from harness.backends.kubernetes.world import WorldOptions
    from harness.backends.node import NodeOptions
    from harness.backends.session import check, namespaces

    kubeconfig = config.getoption("--kubeconfig")
    try:
        options = WorldOptions(
            backend=config.getoption("--backend"),
            context=config.getoption("--context"),
            kubeconfig=Path(kubeconfig) if kubeconfig else None,
            namespaces=namespaces(config.getoption("--namespaces")),
            install=config.getoption("--install"),
            reuse=config.getoption("--reuse"),
            keep=config.getoption("--keep"),
            allow_remote=config.getoption("--allow-remote"),
            node=NodeOptions(gpus=config.getoption("--gpus")),
            image_prefix=config.getoption("--image-prefix"),
        )
        check(options)
    except ConfigError as error:
        raise pytest.UsageError(str(error)) from None
    return options


@pytest.fixture(scope="session")
def rehearsal_session(request: pytest.FixtureRequest) -> Iterator[Session]:
    """What the platforms of this test session share: warm processes, never data; the session ends without its world."""
    from harness.backends.session import open_session, require
    from harness.runtime.interrupts import sigterm_interrupts
    from harness.runtime.paths import runs_home

    options = world_options(request.config)
    try:
        require(options)
    except ConfigError as error:
        if _WORKER in os.environ:  # one of pytest-xdist may not end the session
            raise
        pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)
    home = runs_home(request.config.getoption("--reports"))
    home.mkdir(parents=True, exist_ok=True)
    worker = os.environ.get(_WORKER, "main")
    folder = Path(tempfile.mkdtemp(prefix=f"pytest-{worker}-", dir=home))
    with sigterm_interrupts(), open_session(options, folder) as session:
        yield session
    if not any(folder.glob("*/run.json")):
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def platform(request: pytest.FixtureRequest, rehearsal_session: Session) -> Iterator[Platform]:
    """A platform of this test's own.

    A failed test keeps its run folder, with the report; a passed one only with --keep.
    """
    from harness.platform import Platform
    from harness.run import Run

    slug = re.sub(r"[^\w.-]+", "-", request.node.name)[:60]
    # Two tests may have one name, and a test may be run again: each gets a folder, and with it a registry, of its own.
    folder = Path(tempfile.mkdtemp(prefix=f"{slug}-", dir=rehearsal_session.folder))
    request.node.stash[_FOLDER] = folder
    run = Run(folder, title=_title(request), backend=request.config.getoption("--backend"))
    request.node.stash[RECORD] = run.record
    try:
        backend = rehearsal_session.backend(folder, run.events)
        with run, Platform(backend, run, runner=request.config.getoption("--runner")) as running:
            yield running
            if reason := request.node.stash.get(_FAILURE, ""):
                raise StepFailed(reason, hint=f"pytest {request.node.nodeid} --keep")
    except StepFailed:
        if _FAILURE not in request.node.stash:
            raise
    if _FAILURE not in request.node.stash and not request.config.getoption("--keep"):
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def chaos(request: pytest.FixtureRequest, platform: Platform) -> Chaos:
    """The fault of this test's mark, armed for its next rollout: use chaos.roll_out in place of service.roll_out.

    @pytest.mark.fault("replica-killed", phase="watching", aim="baseline"); further settings are the fault's own.
    """
    from harness.chaos.chaos import Chaos
    from harness.chaos.faults import fault_named, phase_named
    from harness.errors import UsageError

    mark = request.node.get_closest_marker("fault")
    if mark is None or len(mark.args) != 1:
        raise UsageError(f"{request.node.name}: the fixture chaos needs the mark fault with one name")
    settings = dict(mark.kwargs)
    phase, aim = phase_named(settings.pop("phase", "watching")), settings.pop("aim", "")
    return Chaos(platform, fault_named(mark.args[0]).with_settings(**settings), phase, aim=aim)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    """A capability that a fixture misses makes the test a skip."""
    return (yield from _skip_what_is_missing())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """A capability that the test misses makes it a skip."""
    return (yield from _skip_what_is_missing())


def _skip_what_is_missing() -> Generator[None, Any, Any]:
    """Turn a missing capability of this world into a skip, with the reason and how to get it.

    A cluster without what nothing can be rehearsed without is a mistake of the command line: it ends the session.
    """
    try:
        return (yield)
    except CapabilityMissing as missing:
        pytest.skip(f"{missing.message}: {missing.hint}")
    except ClusterUnfit as unfit:
        pytest.exit(f"rehearse: {unfit}", returncode=ClusterUnfit.exit_code)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Remember why a test failed, so that its run's report can begin with that, and keep what it found upstream."""
    if call.when == "call":
        note(item)
    report = yield
    if report.when in ("setup", "call") and report.failed and call.excinfo is not None:
        item.stash[_FAILURE] = call.excinfo.exconly().splitlines()[0]
        if _FOLDER in item.stash:
            report.sections.append(("rehearsal", f"report: {item.stash[_FOLDER] / 'index.html'}"))
    return report


def _title(request: pytest.FixtureRequest) -> str:
    doc = getattr(request.node.obj, "__doc__", None) or request.node.name
    return str(doc).strip().splitlines()[0]
