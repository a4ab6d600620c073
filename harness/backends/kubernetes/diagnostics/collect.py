"""Collecting what an on-call engineer asks for from a cluster, into files, within bounds of time and size.

Nothing is raised for what cannot be read: the index says what is missing, and why. Secrets are never asked for.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.backends.kubernetes.diagnostics import envoy
from harness.backends.kubernetes.diagnostics.abnormal import abnormal
from harness.backends.kubernetes.diagnostics.describe import describe, event_lines
from harness.backends.kubernetes.diagnostics.index import index
from harness.backends.kubernetes.diagnostics.keep import Bounds, Shelf
from harness.backends.kubernetes.diagnostics.snapshot import (
    EVENT,
    NAMESPACED,
    NODE,
    POD,
    SHARED,
    WEBHOOKS,
    Object,
    Snapshot,
    container_statuses,
    happened_at,
    name_of,
    namespace_of,
    reference,
)
from harness.errors import AccessDenied, RehearsalError, RequestFailed
from harness.report.record import ClusterFinding
from harness.runtime.clock import Deadline
from harness.runtime.redact import redact_text

if TYPE_CHECKING:
    from harness.clients.kubernetes import Kube

INDEX = "index.md"
_USAGE = "/apis/metrics.k8s.io/v1beta1/nodes"
_AT_ONCE = 6
_END = 20  # lines
_FAILURE = re.compile(r"error|fatal|exception|denied|cannot|failed|panic|refused", re.IGNORECASE)
_GONE = "unable to retrieve container logs"  # what the kubelet answers instead of a log that it has thrown away
_APART = ("Pod", "Job", "InferenceService", "HorizontalPodAutoscaler", "Gateway", "HTTPRoute", "Node", "TrainJob")
"""Kinds with a file for each object; the others have one for all of a namespace."""


@dataclass(frozen=True)
class Diagnosis:
    """What was abnormal, the first first; where the index lies; what could not be read."""

    findings: list[ClusterFinding]
    index: Path
    missed: list[str] = field(default_factory=list)


def collect(
    kube: Kube,
    folder: Path,
    *,
    namespaces: Sequence[str],
    shared: Sequence[str] = (),
    since: float = 0.0,
    kubectl: str = "kubectl",
    bounds: Bounds | None = None,
) -> Diagnosis:
    """Collect these namespaces whole, and of the `shared` ones what serves the others, into `folder`.

    `since` (Unix seconds): what ended before is not this run's.
    """
    return _Collection(kube, folder, bounds or Bounds()).run(namespaces, shared, since, kubectl)


class _Collection:
    """One collection; its reads run side by side, none begins after the deadline."""

    def __init__(self, kube: Kube, folder: Path, bounds: Bounds) -> None:
        self.kube, self.bounds = kube, bounds
        self.shelf = Shelf(folder, bounds)
        self.deadline = Deadline.after(bounds.seconds)
        self.last_words: dict[tuple[str, str, str], str] = {}

    def run(self, namespaces: Sequence[str], shared: Sequence[str], since: float, kubectl: str) -> Diagnosis:
        """Read, write, conclude."""
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="diagnostics") as pool:
            wanted: list[tuple[str, ...]] = [(kind, space) for space in namespaces for kind in NAMESPACED]
            wanted += [(kind, space) for space in shared if space not in namespaces for kind in SHARED]
            wanted += [(NODE, ""), (EVENT, "default", "involvedObject.kind=Node"), *((kind, "") for kind in WEBHOOKS)]
            objects: dict[str, list[Object]] = {}
            for each, found in zip(wanted, pool.map(lambda each: self._list(*each), wanted), strict=True):
                objects.setdefault(each[0], []).extend(found)
            seen = Snapshot(time.time(), objects, since, kubectl)
            first_look = abnormal(seen)
            files = self._write_objects(seen, first_look)
            for job in [pool.submit(job) for job in self._further(seen, first_look, shared)]:
                job.result()
        findings = abnormal(replace(seen, last_words=self.last_words))
        findings = [each.model_copy(update={"file": self._file(each, files)}) for each in findings]
        self.shelf.put((INDEX,), index(seen, findings, self.shelf), "this index")
        return Diagnosis(findings, self.shelf.folder / INDEX, self.shelf.missed)

    def _list(self, kind: str, namespace: str, fields: str = "") -> list[Object]:
        what = f"{kind.rpartition('/')[2]}s of {namespace or 'the cluster'}"
        found: list[Object] = []
        self._try(lambda: found.extend(self.kube.list(kind, namespace or None, fields=fields)), what)
        return found

    def _try(self, read: Callable[[], object], what: str) -> None:
        """Do one read; what it could not do is noted. A kind that this cluster does not know is no news."""
        if self.deadline.passed():
            self.shelf.miss(f"{what}: not within {self.bounds.seconds:g} s")
            return
        try:
            read()
        except AccessDenied as error:
            self.shelf.miss(f"{what}: {error.message}")
        except RequestFailed as error:
            if error.status != 404:
                self.shelf.miss(f"{what}: {error.message}")
        except RehearsalError as error:
            self.shelf.miss(f"{what}: {error.message}")

    def _write_objects(self, seen: Snapshot, findings: Sequence[ClusterFinding]) -> dict[tuple[str, str], str]:
        """A description of each object, the abnormal ones first; (namespace, object) -> its file."""
        about = {(each.namespace, each.object) for each in findings}
        files: dict[tuple[str, str], str] = {}
        for kind in seen.objects:
            spaces = sorted({namespace_of(each) for each in seen.of(kind)})
            for space in spaces:
                found = [each for each in seen.of(kind) if namespace_of(each) == space]
                found.sort(key=lambda each: (space, reference(each)) not in about)
                self._write_kind(kind, space, found, seen, files)
        return files

    def _write_kind(
        self, kind: str, space: str, found: list[Object], seen: Snapshot, files: dict[tuple[str, str], str]
    ) -> None:
        name, where = kind.rpartition("/")[2], space or "cluster"
        if kind == EVENT:
            ordered = sorted(found, key=happened_at)
            self.shelf.put((where, "events.txt"), "\n".join(event_lines(ordered)) + "\n", "events", keep="tail")
            return
        if len(found) > self.bounds.objects:
            self.shelf.miss(f"{len(found) - self.bounds.objects} of {len(found)} {name}s of {where}")
        found = found[: self.bounds.objects]
        if name not in _APART:
            text = "\n".join(describe(each, seen.events_of(each)) for each in found)
            path = self.shelf.put((where, f"{name.lower()}s.txt"), text, f"{len(found)} {name}s")
            files.update({(space, reference(each)): path for each in found})
            return
        for each in found:
            path = self.shelf.put(
                (where, name.lower(), f"{name_of(each)}.txt"), describe(each, seen.events_of(each)), name
            )
            files[space, reference(each)] = path

    def _further(
        self, seen: Snapshot, findings: Sequence[ClusterFinding], shared: Sequence[str]
    ) -> list[Callable[[], None]]:
        """Logs, those of abnormal Pods first; what the Envoys hold; what the nodes use."""
        about = {(each.namespace, each.object) for each in findings}
        pods = sorted(seen.of(POD), key=lambda pod: (namespace_of(pod), reference(pod)) not in about)
        jobs = [lambda: self._try(self._usage, "usage of nodes")]
        for pod in pods[: self.bounds.objects * 2]:
            lines = self.bounds.shared_log_lines if namespace_of(pod) in shared else self.bounds.log_lines
            jobs += [self._log_job(pod, status, lines) for status in container_statuses(pod)]
            if _is_proxy(pod):
                jobs.append(self._proxy_job(pod))
        return jobs

    def _log_job(self, pod: Object, status: Object, lines: int) -> Callable[[], None]:
        def read() -> None:
            self._log(pod, status, lines, previous=False)
            if status.get("restartCount"):
                self._log(pod, status, lines, previous=True)

        return read

    def _log(self, pod: Object, status: Object, lines: int, *, previous: bool) -> None:
        space, container = namespace_of(pod), str(status["name"])
        if "waiting" in (status.get("state") or {}) and not previous:
            return  # it has not started: there is no log, and that is said by its state
        which = f"{name_of(pod)}.{container}{'.previous' if previous else ''}"

        def read() -> None:
            text = self.kube.logs(name_of(pod), space, container=container, previous=previous, tail=lines)
            if text and not text.startswith(_GONE):
                self.shelf.put((space, "logs", f"{which}.log"), redact_text(text), "log", keep="tail")
                if previous or not status.get("ready"):
                    self.last_words[space, reference(pod), container] = last_words(text)

        self._try(read, f"log of {space}/{which}")

    def _proxy_job(self, pod: Object) -> Callable[[], None]:
        space, name = namespace_of(pod), name_of(pod)

        def read() -> None:
            dump = envoy.config_dump(self.kube, name, space)
            self.shelf.put((space, "envoy", f"{name}.config.json"), dump, "Envoy's configuration")
            clusters = envoy.admin_get(self.kube, name, space, "/clusters")
            self.shelf.put((space, "envoy", f"{name}.clusters.txt"), clusters, "Envoy's upstreams")

        return lambda: self._try(read, f"configuration of Envoy {space}/{name}")

    def _usage(self) -> None:
        self.shelf.put(("cluster", "usage.json"), self.kube.server.text("GET", _USAGE), "what the nodes use")

    def _file(self, finding: ClusterFinding, files: dict[tuple[str, str], str]) -> str:
        found = files.get((finding.namespace, finding.object))
        return f"{self.shelf.folder.name}/{found}" if found else ""


def last_words(log: str) -> str:
    """The line of a log that tells best why it ended: the last one with a word of failure, else the last."""
    lines = [line.strip() for line in log.splitlines()[-_END:] if line.strip()]
    told = [line for line in lines if _FAILURE.search(line)]
    return (told or lines or [""])[-1]


def _is_proxy(pod: Object) -> bool:
    labels = pod["metadata"].get("labels") or {}
    wanted = dict(each.split("=") for each in envoy.PROXIES.split(","))
    running = pod.get("status", {}).get("phase") == "Running"
    return running and all(labels.get(key) == value for key, value in wanted.items())
