"""The kubernetes world: any cluster that a kubeconfig's context names. What is there is used and left as it was."""

from __future__ import annotations

from pathlib import Path

from harness.backends.backend import CAPABILITY_OF, Capability, Part
from harness.backends.kubernetes.alone import GATEWAY as KSERVE_GATEWAY
from harness.backends.kubernetes.alone import GATEWAY_NAMESPACE as KSERVE_NAMESPACE
from harness.backends.kubernetes.detect import HOW, INSTALL, detect
from harness.backends.kubernetes.envoy_pods import EnvoyPods
from harness.backends.kubernetes.foreign_install import install
from harness.backends.kubernetes.here import elsewhere
from harness.backends.kubernetes.install import Told
from harness.backends.kubernetes.own_mlflow import OwnMlflow
from harness.backends.kubernetes.port_forward import Forwards, Target
from harness.backends.kubernetes.runspace import Space, short
from harness.backends.kubernetes.world import SYSTEM, GatewayRef, WorldOptions
from harness.clients.kubernetes import Kube
from harness.errors import AccessDenied, CapabilityMissing, ClusterUnfit, ConfigError, RequestFailed
from harness.report.record import ComponentRecord
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog
from harness.runtime.paths import find_program
from harness.runtime.supervisor import Supervisor

NOT_OUR_NODES = "what a node says that it has is its administrators' to say; --backend kind, or embedded"
PROMETHEUS = Target(SYSTEM, "service/prometheus", 9090)
ALERTMANAGER = Target(SYSTEM, "service/alertmanager", 9093)


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
        self._elsewhere = elsewhere(kube)

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
            install(kube, detect(kube), told, image_prefix=options.image_prefix)
        world = cls(options, kube, folder, events)
        for name, version in world.found.versions().items():
            told(name, version)
        return world

    @property
    def leaves_machine(self) -> str:
        """Where load would go to beyond this machine, without leave; "" if it may."""
        return "" if self.options.allow_remote else self._elsewhere

    @property
    def image_prefix(self) -> str:
        return self.options.image_prefix

    def missing(self) -> dict[Capability, str]:
        lacks = self.found.lacks().items()
        found = {CAPABILITY_OF[part]: f"{reason}: {HOW.get(part, INSTALL)}" for part, reason in lacks}
        if not self.found.alertmanager:
            found[Capability.ALERTS] = f"there is no alertmanager in {SYSTEM}: {INSTALL}"
        return {Capability.DEVICES: NOT_OUR_NODES, **found}

    def ensure(self, part: Part, deadline: Deadline) -> None:
        """Look whether a part can be had: ClusterUnfit for serving, CapabilityMissing for what can be done without."""
        reason = self.found.lacks().get(part, "")
        if reason and part is Part.SERVING:
            raise ClusterUnfit(f"--context {self.options.context}: {reason}", hint=INSTALL)
        if reason:
            raise CapabilityMissing(CAPABILITY_OF[part].value, hint=f"{reason}: {HOW.get(part, INSTALL)}")

    def open_run(self, run_id: str, deadline: Deadline) -> Space:
        given = self.options.namespaces
        makes = not given
        if makes and not self.kube.allowed("create", "namespaces"):
            raise AccessDenied(
                "Not allowed: create namespaces", hint="name those to work in: --namespaces production=NAMESPACE,..."
            )
        prefix = self.options.image_prefix
        tracking = OwnMlflow(self.kube, short(run_id), run_id, self._forwards, deadline, image_prefix=prefix)
        space = Space(
            self.kube,
            run_id,
            physical=lambda logical: f"{logical[:54]}-{short(run_id)}" if makes else self._given(logical),
            makes_namespaces=makes,
            gateway=GatewayRef(SYSTEM),
            gateway_url=self._gateway_url,
            prometheus_url=lambda: self._forwards.url(PROMETHEUS),
            alertmanager_url=lambda: self._forwards.url(ALERTMANAGER),
            tracking=tracking,
        )
        try:
            space.namespace(next(iter(given), "production"))  # where the run's MLflow server starts
        except BaseException:
            space.close()
            raise
        return space

    @property
    def kserve_gateway_url(self) -> str:
        service = EnvoyPods(self.kube, KSERVE_NAMESPACE, KSERVE_GATEWAY).service()
        if service is None:
            raise CapabilityMissing("KServe's own gateway", hint=f"no Envoy serves {KSERVE_NAMESPACE}/{KSERVE_GATEWAY}")
        return self._forwards.url(_target(*service))

    def components(self) -> list[ComponentRecord]:
        versions = self.found.versions()
        return [ComponentRecord(name=name, version=version, ready_s=None) for name, version in versions.items()]

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
        return self._forwards.url(_target(*service))


def _target(namespace: str, service: str, port: int) -> Target:
    return Target(namespace, f"service/{service}", port)


def kubectl(options: WorldOptions) -> list[str]:
    """kubectl for the options' cluster."""
    program = find_program("kubectl")
    if program is None:
        from harness import images

        program = images.program("kubectl")
    argv = [str(program), "--context", str(options.context)]
    return [*argv, "--kubeconfig", str(options.kubeconfig)] if options.kubeconfig else argv
