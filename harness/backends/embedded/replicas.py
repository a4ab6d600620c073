"""What the controller needs for a replica to run, and the embedded way: forked from the nursery, or cold."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from harness.backends.embedded.planner import Address
from harness.backends.embedded.revisions import Desired, Workload
from harness.clients.http import client
from harness.components.model_server import SERVE, SERVE_TRANSFORMER
from harness.components.replica import PayloadLog, Replica, TransformerReplica
from harness.errors import PlatformError
from harness.runtime.clock import Deadline
from harness.runtime.nursery import Nursery
from harness.runtime.ports import LOOPBACK
from harness.runtime.process import Child
from harness.runtime.supervisor import Supervisor
from harness.runtime.wait import wait


class Replicas(Protocol):
    """How the replicas of a run are started; the controller decides which and when."""

    def launch(self, wanted: Desired, workload: Workload, number: int, deadline: Deadline) -> Child:
        """Start one; returns before it is ready."""
        ...

    def wait_ready(self, wanted: Desired, child: Child, deadline: Deadline) -> Address:
        """The address at which the gateway reaches it, once it answers ready.

        ProcessExited or WaitTimeout if it does not.
        """
        ...

    def reached_at(self, child: Child, address: Address) -> Address:
        """Where this process reaches the replica that the gateway reaches at `address`."""
        ...


@dataclass(frozen=True)
class ReplicaStarter:
    """Replicas as processes of this machine."""

    supervisor: Supervisor
    nursery: Callable[[], Nursery] | None
    tracking_uri: str
    gateway_url: str
    folder: Path
    login: Mapping[str, str] = field(default_factory=dict)

    def launch(self, wanted: Desired, workload: Workload, number: int, deadline: Deadline) -> Child:
        name = replica_name(wanted, workload, number)
        folder = self.folder / name
        config = self._config(wanted, workload, folder)
        path = folder / "config.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(config), encoding="utf-8")
        except OSError as error:
            raise PlatformError(f"replica {name}: cannot write {path}: {error.strerror}") from error
        env = {**replica_env(self.tracking_uri), **self.login, **dict(workload.env)}
        if self.nursery is not None:
            target = SERVE_TRANSFORMER if workload.kind == "transformer" else SERVE
            return self.supervisor.fork(name, target, config, nursery=self.nursery(), env=env, deadline=deadline)
        argv = [sys.executable, "-P", "-m", "harness.components.model_server", str(path)]
        return self.supervisor.spawn(name, argv, env=env)

    def wait_ready(self, wanted: Desired, child: Child, deadline: Deadline) -> Address:
        told = self.folder / child.name / "ready.json"
        what = f"replica {child.name} ready"
        port = wait(lambda: _port(told), what=what, deadline=deadline, child=child, every_s=0.005)
        with client(f"http://{LOOPBACK}:{port}", timeout_s=10) as http:
            path = f"/v2/models/{wanted.name}/ready"
            wait(lambda: http.get(path).status_code == 200, what=what, deadline=deadline, child=child, every_s=0.005)
        return LOOPBACK, port

    def reached_at(self, child: Child, address: Address) -> Address:
        return address

    def _config(self, wanted: Desired, workload: Workload, folder: Path) -> dict[str, Any]:
        ready = str(folder / "ready.json")
        if workload.kind == "transformer":
            return TransformerReplica(
                model_name=wanted.name,
                target=workload.target,
                gateway_url=self.gateway_url,
                predictor_host=wanted.predictor_host,
                folder=str(folder),
                ready_file=ready,
                protocol=workload.protocol,
                search_path=str(Path.cwd()),
            ).config()
        return Replica(
            model_name=wanted.name,
            storage_uri=workload.storage_uri,
            models=str(self.folder / "models"),
            ready_file=ready,
            tracking_uri=self.tracking_uri,
            fault_file=str(fault_file(self.folder, wanted.namespace, wanted.name, workload.name)),
            logger=payload_log(wanted, workload),
        ).config()


def replica_name(wanted: Desired, workload: Workload, number: int) -> str:
    """What a replica is called, and the folder of its files."""
    return f"{wanted.namespace}.{wanted.name}.{workload.name.strip('_')}-{number}"


def replica_env(tracking_uri: str) -> Mapping[str, str]:
    """The environment of a model server that finds its models at this MLflow server."""
    return {
        "MLFLOW_TRACKING_URI": tracking_uri,
        # The supervisor starts the replica again; MLflow's own seven retries would hide for minutes what is wrong.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "OMP_NUM_THREADS": "1",
    }


def replicas_folder(folder: Path) -> Path:
    """Where the files of a run's replicas lie, below the run's folder."""
    return folder / "replicas"


def fault_file(replicas: Path, namespace: str, name: str, revision: str) -> Path:
    """Where the fault of a revision's replicas is told, those that are started later too."""
    return replicas / "faults" / f"{namespace}.{name}.{revision}.json"


def cannot_load_line(log_tail: str) -> str:
    """The one line with which a replica says why it gave up; the last line if there is none."""
    lines = [line for line in log_tail.splitlines() if line.strip()]
    told = [line for line in lines if "cannot be loaded" in line]
    return (told or lines or ["no output"])[-1].strip()


def payload_log(wanted: Desired, workload: Workload) -> PayloadLog | None:
    """Where a replica sends its payloads, and what it says of itself; None without a logger."""
    if workload.logger is None:
        return None
    return PayloadLog(
        url=workload.logger.url,
        mode=workload.logger.mode,
        service=wanted.name,
        namespace=wanted.namespace,
        component="predictor",
        endpoint="" if workload.kind == "predictor" else workload.name,
        revision=workload.name,
    )


def _port(told: Path) -> int | None:
    return int(json.loads(told.read_text(encoding="utf-8"))["port"]) if told.exists() else None
