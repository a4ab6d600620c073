"""The documents of a distributed load: manifests/load with names, labels, arguments and the plan filled in."""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import ConfigError
from harness.load.pod import STOP_DIGEST
from harness.load.shape_options import arguments
from harness.load.spec import DRAIN_S, LoadSpec
from harness.load.trace import Replay
from harness.runtime.paths import data_folder

if TYPE_CHECKING:
    from harness.clients.kubernetes import Kube

PART = "rehearsal.dev/load-part"
JOB = "batch.kubernetes.io/job-name"
MOST_BYTES = 900_000
"""A ConfigMap holds 1 MiB, the locustfile and the object's own fields among that."""
SETTLE_S = 180
"""What is granted beyond the load's longest time, for starting and for fetching its parts."""

Document = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where a load's Pods go: a namespace of a cluster, with these labels on everything.

    `url` is the target as the Pods reach it; it must be among the run's `own`, unless loads may go anywhere.
    """

    kube: Kube
    namespace: str
    labels: Mapping[str, str]
    image: str
    url: str
    own: Collection[str] = field(default_factory=frozenset)
    allow_remote: bool = False


def documents(spec: LoadSpec, place: Place, load_id: str, stop_digest: str) -> list[Document]:
    """The master's Job first, which is to own the others: the plan, the master's Service, the workers' Job.

    `stop_digest` is of the token that ends the load.
    """
    job, service = _templates()
    env = job["spec"]["template"]["spec"]["containers"][0]["env"]
    env.append({"name": STOP_DIGEST, "value": stop_digest})
    name, worker = job_name(load_id, "master"), job_name(load_id, "worker")
    return [
        _job(job, spec, place, load_id, "master", [*_plan_arguments(spec, place, load_id), "--master"]),
        _filled({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}, "data": _plan(spec)}, place, name),
        _service(service, place, name),
        _job(job, spec, place, load_id, "worker", ["--worker", "--master-host", name], named=worker),
    ]


def job_name(load_id: str, part: str) -> str:
    """The name of a load's Job, of its Pods' label, and of the master's Service and plan."""
    return f"load-{load_id}-{part}"


def _templates() -> tuple[Document, Document]:
    import yaml

    text = (data_folder("manifests") / "load/generators.yaml").read_text(encoding="utf-8")
    job, service = yaml.safe_load_all(text)
    return job, service


def _plan(spec: LoadSpec) -> dict[str, str]:
    """The locustfile, the bodies and the trace, as every Pod finds them under /load."""
    if isinstance(spec.shape, Replay) and Path(spec.shape.trace).suffix != ".csv":
        raise ConfigError(f"load.shape: {spec.shape.trace}: a distributed load takes a trace as .csv")
    locustfile = (data_folder("loadtests") / _locustfile(spec)).read_text(encoding="utf-8")
    payload = Path(spec.payload).read_text(encoding="utf-8")
    trace = Path(spec.shape.trace).read_text(encoding="utf-8") if isinstance(spec.shape, Replay) else ""
    if (size := len(payload.encode()) + len(trace.encode())) > MOST_BYTES:
        raise ConfigError(
            f"load.payload: {spec.payload} has {size:,} bytes, a distributed load takes {MOST_BYTES:,}",
            hint="give fewer rows: they are sent in turn.",
        )
    return {_locustfile(spec): locustfile, "payload.jsonl": payload, **({"trace.csv": trace} if trace else {})}


def _locustfile(spec: LoadSpec) -> str:
    """The name of the file in loadtests/ that sends this shape."""
    return f"{spec.shape.kind}.py"


def _shape_arguments(spec: LoadSpec) -> list[str]:
    """The options of that file."""
    found = arguments(spec.shape)
    return ["--trace", "/load/trace.csv", *found[2:]] if isinstance(spec.shape, Replay) else found


def _plan_arguments(spec: LoadSpec, place: Place, load_id: str) -> list[str]:
    """What the master is told; Locust passes it on to the workers."""
    return [
        *_shape_arguments(spec),
        *("--arrivals", spec.arrivals, "--seed", str(spec.seed)),
        *("--user-ids", str(spec.users), "--path", spec.path, "--service-host", spec.host, "--load-id", load_id),
        *("--payload", "/load/payload.jsonl", "--connections", str(spec.connections), "--allow-remote"),
        *("--host", place.url, "--expect-workers", str(spec.workers)),
        *("--users", str(spec.workers), "--spawn-rate", str(spec.workers)),
        *("--run-time", f"{spec.run_time_s}s", "--stop-timeout", f"{DRAIN_S + 2:g}"),
        *("--exit-code-on-error", "0", "--headless", "--only-summary"),
    ]


def _job(
    template: Document, spec: LoadSpec, place: Place, load_id: str, part: str, arguments: list[str], named: str = ""
) -> Document:
    master = job_name(load_id, "master")
    job = _filled(template, place, named or master)
    many = spec.workers if part == "worker" else 1
    job["spec"] |= {"parallelism": many, "completions": many, "activeDeadlineSeconds": math.ceil(spec.max_s) + SETTLE_S}
    pod = job["spec"]["template"]
    pod["metadata"]["labels"] |= {**place.labels, PART: part}
    container = pod["spec"]["containers"][0]
    container["image"] = place.image
    container["args"] = ["-f", f"/load/{_locustfile(spec)}", "--records", "/records", *arguments]
    pod["spec"]["volumes"][0]["configMap"]["name"] = master
    return job


def _service(template: Document, place: Place, name: str) -> Document:
    service = _filled(template, place, name)
    service["spec"]["selector"] = {JOB: name}
    return service


def _filled(template: Document, place: Place, name: str) -> Document:
    document = copy.deepcopy(template)
    labels = {**document["metadata"].get("labels", {}), **place.labels}
    document["metadata"] |= {"name": name, "namespace": place.namespace, "labels": labels}
    return document
