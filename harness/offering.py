"""What `rehearse load` sends to: a service of a platform of its own, of one that is kept up, or somebody's server."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness._reproduce import longest, reproduce, to_host
from harness.clients.inference import Protocol as Inference
from harness.clients.inference import path_of
from harness.errors import RehearsalError, UsageError
from harness.lifecycle.slo import SLO
from harness.load import Load, LoadSpec
from harness.load.arrivals import Arrivals
from harness.load.shapes import Shape
from harness.model_version import ModelVersion
from harness.runtime.clock import Deadline
from harness.runtime.paths import data_folder
from harness.runtime.supervisor import Supervisor
from harness.service import READY_S, Service

if TYPE_CHECKING:
    from harness.plan import Plan
    from harness.platform import Platform
    from harness.run import Run
    from harness.runtime.state import RunState

SERVING = "serving.json"


@dataclass(frozen=True)
class Manner:
    """How requests are made, whatever their rate."""

    slo: SLO = field(default_factory=SLO)
    arrivals: Arrivals = "constant"
    seed: int = 7
    users: int = 0
    processes: int = 1
    protocol: Inference = "v1"
    payload: Path | None = None
    workers: int = 0
    rows: int = 500


class Offering(Protocol):
    """Something that load can be sent to; `service` is its name in the record."""

    service: str

    def load(self, shape: Shape, manner: Manner, max_s: float | None = None) -> AbstractContextManager[Load]:
        """Offer a shape while the block lasts; the run's record has it at the end."""
        ...


class OwnService:
    """A service of a platform of this process."""

    def __init__(self, platform: Platform, service: Service) -> None:
        self.service = f"{service.namespace}/{service.name}"
        self._platform, self._to = platform, service

    def load(self, shape: Shape, manner: Manner, max_s: float | None = None) -> AbstractContextManager[Load]:
        return self._platform.load(
            self._to,
            shape=shape,
            slo=manner.slo,
            arrivals=manner.arrivals,
            users=manner.users,
            processes=manner.processes,
            workers=manner.workers,
            protocol=manner.protocol,
            payload=manner.payload,
            rows=manner.rows,
            max_s=max_s,
        )


@dataclass(frozen=True)
class Target:
    """A server that others run, or what the platform `run` serves; `access_log` is its gateway's, if at hand."""

    url: str
    host: str = ""
    model: str = "model"
    access_log: Path | None = None
    payloads: Mapping[str, str] = field(default_factory=dict)
    run: str = ""

    def flags(self) -> list[str]:
        """What names it on the command line."""
        return ["--run", self.run] if self.run else to_host(self.url, self.host, self.model)


class Elsewhere:
    """A target beside this process; the load's processes belong to the run."""

    def __init__(self, target: Target, run: Run, supervisor: Supervisor) -> None:
        self.service = target.host or target.url
        self._target, self._run, self._supervisor = target, run, supervisor
        self._loads = 0

    @contextmanager
    def load(self, shape: Shape, manner: Manner, max_s: float | None = None) -> Iterator[Load]:
        self._loads += 1
        folder = self._run.folder / "loads" / f"load-{self._loads}"
        folder.mkdir(parents=True)
        spec = LoadSpec(
            name=folder.name,
            url=self._target.url,
            host=self._target.host,
            path=path_of(manner.protocol, self._target.model),
            payload=manner.payload or self._payload(manner.protocol),
            shape=shape,
            max_s=longest(shape) if max_s is None else max_s,
            arrivals=manner.arrivals,
            seed=manner.seed,
            processes=manner.processes,
            users=manner.users,
        )
        ledger = self._run.new_file("ledger.parquet")
        load = Load(spec, folder, self._supervisor, self._target.access_log, ledger=ledger, slo=manner.slo)
        load.start(Deadline.after(READY_S))
        try:
            yield load
        except BaseException as error:
            self._end_anyway(load, error)
            raise
        self._ended(load).check()

    def _payload(self, protocol: str) -> Path:
        told = self._target.payloads.get(protocol)
        return Path(told) if told else data_folder("loadtests") / f"payload-{protocol}.jsonl"

    def _ended(self, load: Load) -> Any:
        ledger = load.stop(Deadline.after(READY_S))
        command = reproduce(load.spec, ledger, load.slo, self._target.flags())
        self._run.record.loads.append(ledger.record(self.service, self._run.folder, command))
        return ledger

    def _end_anyway(self, load: Load, error: BaseException) -> None:
        try:
            self._ended(load)
        except RehearsalError as second:
            self._run.events.emit("load.failed", load.spec.name, second.message, level="warning")


def serve(platform: Platform, plan: Plan) -> tuple[Service, ModelVersion]:
    """Train the candidate of the main job on a platform, and serve it."""
    run, candidate = platform.run, plan.candidate
    with run.step("train", f"Train {plan.dataset.name}") as step:
        spec = platform.training_spec(
            plan.dataset,
            name=candidate.name,
            estimator=candidate.estimator,
            params=candidate.params,
            features=plan.features,
            deadline_s=plan.deadline_s,
            source_root=plan.source_root,
        )
        model = platform.run_pipeline(spec)
        step.detail = f"version {model.version}"
    with run.step("deploy", "Serve it") as step:
        service = platform.deploy(model)
        step.detail = f"{service.host} at {platform.backend.gateway_url}"
    return service, model


def announce(platform: Platform, service: Service, model: ModelVersion) -> None:
    """Leave in the run folder what `rehearse load --run` needs to know of a service."""
    payloads: dict[Inference, Path] = {"v1": platform.run.folder / "payload-v1.jsonl",
                                       "v2": platform.run.folder / "payload-v2.jsonl"}  # fmt: skip
    for protocol, path in payloads.items():
        platform.write_payload(path, model, protocol=protocol)
    told = {
        "url": platform.backend.gateway_url,
        "host": service.host,
        "model": service.name,
        "access_log": str(platform.backend.access_log),
        "payloads": {protocol: str(path) for protocol, path in payloads.items()},
    }
    (platform.run.folder / SERVING).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def target_of(state: RunState) -> Target:
    """What a platform that is kept up serves; UsageError if it serves nothing."""
    file = Path(state.folder) / SERVING
    if not file.is_file():
        raise UsageError(f"load: {state.run_id} serves no model", hint="rehearse up --serve starts one that does.")
    told = json.loads(file.read_text(encoding="utf-8"))
    return Target(**{**told, "access_log": Path(told["access_log"]), "run": state.run_id})
