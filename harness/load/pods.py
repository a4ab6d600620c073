"""The crew of a large load: Locust's master and workers as Pods, their parts fetched through the API server."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from harness.errors import LoadFailed, RequestFailed
from harness.load import pod
from harness.load._pod_documents import JOB, PART, Place, documents, job_name
from harness.load.audit import Reading
from harness.load.records import LoadFiles, read_json
from harness.load.remote import refuse_remote
from harness.load.spec import LoadSpec
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait

if TYPE_CHECKING:
    from harness.clients.kubernetes import Kube

__all__ = ["Place", "Pods"]

EVERY_S = 0.25
FETCH_S = 120.0
_BLOCK = 1 << 20


class Pods:
    """Locust's Pods of one load; `place` says where they go and what they are told to send to."""

    def __init__(self, spec: LoadSpec, files: LoadFiles, place: Place) -> None:
        self._spec, self._files, self._place = spec, files, place
        self._kube: Kube = place.kube
        self._load_id = ""
        self._token = secrets.token_urlsafe(32)  # ends the load; the cluster knows its digest only
        self._workers: list[str] = []

    def start(self, deadline: Deadline) -> None:
        refuse_remote(self._place.url, allowed=self._place.allow_remote, own=self._place.own)
        self._load_id = str(read_json(self._files.spec)["load_id"])
        master, *others = documents(self._spec, self._place, self._load_id, pod.digest(self._token))
        try:
            owner = self._kube.apply(master)
            self._kube.apply_all([_owned(document, owner) for document in others])
            self._workers = wait(
                self._flowing, what=f"load {self._spec.name}: first answer from {self._place.url}", deadline=deadline,
                fail=self._broken, state=self._seen, every_s=EVERY_S,
            )  # fmt: skip
        except BaseException:
            self._delete()
            raise

    def ended(self) -> bool:
        if broken := self._broken():
            raise LoadFailed(f"load {self._spec.name}: {broken}")
        return all(_share(state, "finished") is not None for state in self._states(self._workers))

    def stop(self, deadline: Deadline) -> None:
        try:
            for master in self._pods("master"):
                path = self._path(master["metadata"]["name"], "stop")
                self._kube.server.text("POST", path, body={"token": self._token}, what=_PROXY)
            states = wait(
                self._ended, what=f"load {self._spec.name}: the end of its workers", deadline=deadline,
                state=self._seen, every_s=EVERY_S,
            )  # fmt: skip
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(self._fetch, self._workers, states))
            self._check(states)
        finally:
            self._delete()

    def readings(self) -> list[Reading | None]:
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(self._reading, self._workers))

    def _flowing(self) -> list[str] | None:
        """The workers in order of their shares, once a request of each has ended."""
        names = [found["metadata"]["name"] for found in self._pods("worker") if _running(found)]
        if len(names) < self._spec.workers:
            return None
        shares = {_share(state, "started"): name for name, state in zip(names, self._states(names), strict=True)}
        found = [shares.get(share) for share in range(self._spec.workers)]
        return [name for name in found if name] if all(found) else None

    def _ended(self) -> list[dict[str, Any]] | None:
        states = self._states(self._workers)
        return states if all(state and not state["running"] for state in states) else None

    def _broken(self) -> str | None:
        """What will not come right by itself: a Pod that failed, or a Locust that ended early."""
        for found in self._pods("master") + self._pods("worker"):
            name = found["metadata"]["name"]
            if found.get("status", {}).get("phase") == "Failed":
                return f"Pod {name} failed: {_why(found)}"
            state = self._state(name) if _running(found) else None
            if state and not state["running"] and _share(state, "finished") is None:
                return f"Locust in Pod {name} ended with exit code {state['code']}.\n" + "\n".join(state["log"][-15:])
        return None

    def _seen(self) -> str:
        found = self._pods("master") + self._pods("worker")
        return "; ".join(f"{each['metadata']['name']} {_why(each)}" for each in found) or "no Pod yet"

    def _fetch(self, worker: str, state: dict[str, Any]) -> None:
        """Bring what a worker wrote into the load's folder; go.json is the same of all, but for their clocks."""
        for name in state["files"]:
            response = self._kube.server.open("GET", self._path(worker, name), timeout_s=FETCH_S, what=_PROXY)
            try:
                with (self._files.folder / name).open("wb") as file:
                    for block in response.stream(_BLOCK):
                        file.write(block)
            finally:
                response.release_conn()

    def _check(self, states: Sequence[dict[str, Any]]) -> None:
        for share, state in enumerate(states):
            told = self._files.failed(share)
            cause = f"; its schedule was ended by {read_json(told)['error']}" if told.exists() else ""
            if state["code"] != 0 or not self._files.finished(share).exists():
                log = "\n".join(state["log"][-15:])
                ended = f"Locust in Pod {self._workers[share]} ended with exit code {state['code']}{cause}"
                raise LoadFailed(f"load {self._spec.name}: {ended}.\n{log}")

    def _reading(self, worker: str) -> Reading | None:
        state = self._state(worker)
        told = state and state["audit"]
        if not told:
            return None
        return Reading(time.monotonic() - told["age_s"], told["late_p99_ms"], told["cpu"])

    def _states(self, names: Sequence[str]) -> list[Any]:
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(self._state, names))

    def _state(self, name: str) -> dict[str, Any] | None:
        """What a Pod says of itself; None while it does not answer."""
        ask = partial(self._kube.server.json, "GET", self._path(name, "state"), what=_PROXY)
        state: dict[str, Any] | None = _unless_away(ask)
        return state

    def _path(self, name: str, path: str) -> str:
        return f"/api/v1/namespaces/{self._place.namespace}/pods/{name}:{pod.PORT}/proxy/{path}"

    def _pods(self, part: str) -> list[dict[str, Any]]:
        labels = f"{PART}={part},{JOB}={job_name(self._load_id, part)}"
        return self._kube.list("v1/Pod", self._place.namespace, labels=labels)

    def _delete(self) -> None:
        """The master's Job owns the rest."""
        self._kube.delete("batch/v1/Job", job_name(self._load_id, "master"), self._place.namespace)


_PROXY = "pods/proxy"


def _unless_away(ask: Callable[[], Any]) -> Any:
    """The answer; None if the Pod does not take connections (yet)."""
    try:
        return ask()
    except RequestFailed as error:
        if error.status in (None, 404, 500, 502, 503, 504):
            return None
        raise


def _owned(document: dict[str, Any], owner: dict[str, Any]) -> dict[str, Any]:
    reference = {key: owner[key] for key in ("apiVersion", "kind")}
    reference |= {"name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]}
    return {**document, "metadata": {**document["metadata"], "ownerReferences": [reference]}}


def _running(found: dict[str, Any]) -> bool:
    return bool(found.get("status", {}).get("phase") == "Running" and not found["metadata"].get("deletionTimestamp"))


def _share(state: dict[str, Any] | None, mark: str) -> int | None:
    """Which share a worker sends, once it has a file that says so."""
    names = [name for name in (state or {}).get("files", []) if name.startswith(f"{mark}-")]
    return int(names[0].removeprefix(f"{mark}-").partition(".")[0]) if names else None


def _why(found: dict[str, Any]) -> str:
    """A Pod's phase, and the reason that Kubernetes gives for it."""
    status = found.get("status", {})
    told = [each.get("message", "") for each in status.get("conditions", []) if each.get("status") == "False"]
    waiting = [
        f"{state['waiting'].get('reason')}: {state['waiting'].get('message', '')}"
        for each in status.get("containerStatuses", [])
        if "waiting" in (state := each.get("state", {}))
    ]
    words = next((text for text in [*waiting, status.get("message", ""), *told] if text), "")
    return f"{status.get('phase', 'Unknown')}{f' ({words})' if words else ''}"
