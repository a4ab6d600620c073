"""Replicas as containers of the image rehearsal/model-server, which the gateway reaches by their addresses."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from harness.backends.collector import logger_url
from harness.backends.containers.child import ContainerChild
from harness.backends.containers.launcher import Containers, Mounted
from harness.backends.embedded.planner import Address
from harness.backends.embedded.replicas import fault_file, payload_log, replica_env, replica_name
from harness.backends.embedded.revisions import Desired, Workload
from harness.components.component import EVERY_INTERFACE, Component, Ready
from harness.components.model_server import PORT, model_server
from harness.components.replica import Replica, TransformerReplica
from harness.containers.ready import wait_ready
from harness.errors import PlatformError, PortTaken
from harness.runtime.clock import Deadline
from harness.runtime.ports import LOOPBACK, reserve
from harness.runtime.process import Child

MODELS = "/mnt/models"
"""In a replica: where fetched model versions lie, which the replicas of a run share."""
PORT_TRIES = 5
RESOLV_CONF = "resolv.conf"
USUAL_RESOLVER = "nameserver 127.0.0.11\noptions ndots:0\n"


@dataclass(frozen=True)
class ContainerReplicas:
    """`tracking_uri` and `gateway_url` are what the other containers of the run know them as."""

    containers: Containers
    tracking_uri: str
    gateway_url: str
    folder: Path
    models: Callable[[], str]
    """The volume of fetched model versions."""
    _started: dict[Child, tuple[Component, int]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def launch(self, wanted: Desired, workload: Workload, number: int, deadline: Deadline) -> Child:
        name = replica_name(wanted, workload, number)
        try:
            self._lay_out()
        except OSError as error:
            raise PlatformError(f"replica {name}: cannot write {error.filename}: {error.strerror}") from error
        recipe = model_server(self._told(wanted, workload), name=name)
        env = {**recipe.env, **replica_env(self.tracking_uri), **dict(workload.env)}
        ready = Ready(port="http", path=f"/v2/models/{wanted.name}/ready")
        recipe = replace(recipe, env=env, ready=ready)
        mounts = self._mounts(workload)
        for left in reversed(range(PORT_TRIES)):
            port = reserve()
            try:
                child = self.containers.start(recipe, self.folder / name, {"http": port}, mounts=mounts)
            except PortTaken:
                if not left:
                    raise
                continue
            with self._lock:
                self._started[child] = recipe, port
            return child
        raise PlatformError(f"replica {name}: no free port")

    def wait_ready(self, wanted: Desired, child: Child, deadline: Deadline) -> Address:
        recipe, port = self._started[child]
        held = cast(ContainerChild, child)
        wait_ready(recipe, held, {"http": port}.get, deadline)
        return held.address(self.containers.ground.network.name), PORT

    def reached_at(self, child: Child, address: Address) -> Address:
        return LOOPBACK, self._started[child][1]

    def _lay_out(self) -> None:
        """What every replica has beside its own folder: a place for faults, and how it resolves names."""
        fault_file(self.folder, "", "", "").parent.mkdir(parents=True, exist_ok=True)
        resolver = self.folder / RESOLV_CONF
        if not resolver.exists():
            resolver.write_text(USUAL_RESOLVER, encoding="ascii")

    def _told(self, wanted: Desired, workload: Workload) -> Replica | TransformerReplica:
        if workload.kind == "transformer":
            return TransformerReplica(
                model_name=wanted.name,
                target=workload.target,
                gateway_url=self.gateway_url,
                predictor_host=wanted.predictor_host,
                folder="{folder}",
                ready_file="",
                protocol=workload.protocol,
                port=PORT,
                search_path=str(Path.cwd()),
                host=EVERY_INTERFACE,
            )
        log = payload_log(wanted, workload)
        return Replica(
            model_name=wanted.name,
            storage_uri=workload.storage_uri,
            models=MODELS,
            ready_file="",
            tracking_uri=self.tracking_uri,
            fault_file=str(fault_file(self.folder, wanted.namespace, wanted.name, workload.name)),
            port=PORT,
            logger=replace(log, url=logger_url(log.url, workload.name)) if log else None,
            host=EVERY_INTERFACE,
        )

    def _mounts(self, workload: Workload) -> tuple[Mounted, ...]:
        faults = fault_file(self.folder, "", "", "").parent
        mounts = [
            Mounted(str(faults), str(faults)),
            Mounted(str(self.folder / RESOLV_CONF), "/etc/resolv.conf"),
            Mounted(self.models(), MODELS, writable=True),
        ]
        if workload.kind == "transformer":
            mounts.append(Mounted(str(Path.cwd()), str(Path.cwd())))
        elif not workload.storage_uri.startswith("models:/"):
            folder = workload.storage_uri.removeprefix("file://")
            if Path(folder).is_dir():  # Docker would make one that is not there
                mounts.append(Mounted(folder, folder))
        return tuple(mounts)
