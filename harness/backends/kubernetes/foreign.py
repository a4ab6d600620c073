"""The kubernetes world: any cluster that a kubeconfig's context names. What is there is used and left as it was."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from urllib.parse import urlsplit

from harness.backends.backend import CAPABILITY_OF, Capability, Part
from harness.backends.kubernetes.detect import HOW, INSTALL, Found, detect
from harness.backends.kubernetes.envoy_pods import EnvoyPods
from harness.backends.kubernetes.install import Installer, Told, prepare
from harness.backends.kubernetes.manifests import components
from harness.backends.kubernetes.metrics import prometheus_values
from harness.backends.kubernetes.own_mlflow import OwnMlflow
from harness.backends.kubernetes.port_forward import Forwards, Target
from harness.backends.kubernetes.runspace import Space, short
from harness.backends.kubernetes.world import SYSTEM, GatewayRef, WorldOptions
from harness.clients.kubernetes import Kube
from harness.errors import AccessDenied, CapabilityMissing, ConfigError, RequestFailed
from harness.report.record import ComponentRecord
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog
from harness.runtime.paths import data_folder, find_program
from harness.runtime.supervisor import Supervisor

INSTALL_S = 300.0
NOT_OUR_NODES = "what a node says that it has is its administrators' to say; --backend kind, or embedded"
PROMETHEUS = Target(SYSTEM, "service/prometheus", 9090)


class ForeignWorld:
    """One context of a kubeconfig."""

    name = "kubernetes"
    system = SYSTEM

    def __init__(self, options: WorldOptions, kube: Kube, folder: Path, events: EventLog) -> None:
        self.kube = kube
        self.options = options
        self.found = detect(kube)
        self._supervisor = Supervisor(folder, events, run_id=f"{folder.name}-forwards")
        self._supervisor.__enter__()
        self._forwards = Forwards(self._supervisor, kubectl(options))
        self._envoy = EnvoyPods(kube, SYSTEM)

    @classmethod
    def open(cls, options: WorldOptions, folder: Path, events: EventLog, told: Told) -> ForeignWorld:
        """Reach the cluster and look at it; with --install bring what it lacks.

        Errors: ConfigError for a context that is not there and a cluster that does not answer; AccessDenied.
        """
        kube = Kube.connect(options.kubeconfig, options.context)
        try:
            kube.version()
        except RequestFailed as error:
            raise ConfigError(f"--context {options.context}: the cluster does not answer: {error.message}") from error
        if options.install:
            install(kube, detect(kube), told)
        world = cls(options, kube, folder, events)
        for name, version in world.found.versions().items():
            told(name, version)
        return world

    @property
    def leaves_machine(self) -> str:
        """Where load would go to beyond this machine, without leave; "" if it may."""
        host = self.kube.server.api.configuration.host
        return "" if self.options.allow_remote or is_loopback(host) else host

    def missing(self) -> dict[Capability, str]:
        lacks = self.found.lacks().items()
        found = {CAPABILITY_OF[part]: f"{reason}: {HOW.get(part, INSTALL)}" for part, reason in lacks}
        return {Capability.DEVICES: NOT_OUR_NODES, **found}

    def ensure(self, part: Part, deadline: Deadline) -> None:
        """Look whether a part can be had: ConfigError for serving, CapabilityMissing for what can be done without."""
        reason = self.found.lacks().get(part, "")
        if reason and part is Part.SERVING:
            raise ConfigError(f"--context {self.options.context}: {reason}", hint=INSTALL)
        if reason:
            raise CapabilityMissing(CAPABILITY_OF[part].value, hint=f"{reason}: {HOW.get(part, INSTALL)}")

    def open_run(self, run_id: str, deadline: Deadline) -> Space:
        given = self.options.namespaces
        makes = not given
        if makes and not self.kube.allowed("create", "namespaces"):
            raise AccessDenied(
                "Not allowed: create namespaces", hint="name those to work in: --namespaces production=NAMESPACE,..."
            )
        tracking = OwnMlflow(self.kube, short(run_id), run_id, self._forwards, deadline)
        space = Space(
            self.kube,
            run_id,
            physical=lambda logical: f"{logical[:54]}-{short(run_id)}" if makes else self._given(logical),
            makes_namespaces=makes,
            gateway=GatewayRef(SYSTEM),
            gateway_url=self._gateway_url,
            prometheus_url=lambda: self._forwards.url(PROMETHEUS),
            tracking=tracking,
        )
        space.namespace(next(iter(given), "production"))  # where the run's MLflow server starts
        return space

    def components(self) -> list[ComponentRecord]:
        return [
            ComponentRecord(name=name, version=version, ready_s=0.0) for name, version in self.found.versions().items()
        ]

    def close(self) -> None:
        self._supervisor.close()
        self.kube.close()

    def _given(self, logical: str) -> str:
        given = self.options.namespaces
        if logical not in given:
            raise ConfigError(f"--namespaces: none is given for {logical!r}; given are {', '.join(given)}")
        return given[logical]

    def _gateway_url(self) -> str:
        service = self._envoy.service()
        if service is None:
            raise ConfigError(f"--context {self.options.context}: no Envoy serves the Gateway", hint=INSTALL)
        namespace, name, port = service
        return self._forwards.url(Target(namespace, f"service/{name}", port))


def install(kube: Kube, found: Found, told: Told) -> None:
    """Bring the components that a cluster lacks; they stay."""
    from harness import images

    if not kube.allowed("create", "customresourcedefinitions", group="apiextensions.k8s.io"):
        raise AccessDenied(
            "Not allowed: create customresourcedefinitions.apiextensions.k8s.io", hint="--install needs cluster-admin"
        )
    deadline = Deadline.after(INSTALL_S)
    prepare(kube, deadline)
    folder = data_folder("manifests") / "system"
    installer = Installer(kube, components(folder), images.bundle, values=prometheus_values(), told=told)
    try:
        installer.install(found.components(), deadline)
    finally:
        installer.stop()


def kubectl(options: WorldOptions) -> list[str]:
    """kubectl for the options' cluster."""
    program = find_program("kubectl")
    if program is None:
        from harness import images

        program = images.program("kubectl")
    argv = [str(program), "--context", str(options.context)]
    return [*argv, "--kubeconfig", str(options.kubeconfig)] if options.kubeconfig else argv


def is_loopback(url: str) -> bool:
    """Whether a URL's host is this machine by its loopback address."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
