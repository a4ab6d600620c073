"""The traffic router: keeps what KServe runs and what the gateway routes equal to the applied documents.

Every change (a document, a Pod's readiness, a revision that the gateway reaches) leads to one pass: look at the Pods,
ask the pure planner for the next step, do it and confirm it, until there is none. KServe itself stays as it is.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Set
from typing import Any

import httpx

from harness.backends.embedded.routes import DEFAULT_TIMEOUT_S
from harness.backends.inference_service import InferenceService
from harness.backends.kubernetes import applied, entrances, routes
from harness.backends.kubernetes._service import Service
from harness.backends.kubernetes.plan import Routing, Shape, Tell, plan
from harness.backends.kubernetes.pods import Failure, alive_revisions, replicas_of
from harness.backends.kubernetes.probe import GatewayProbe
from harness.backends.kubernetes.routes import POLICY_KIND, ROUTE_KIND, Target
from harness.backends.kubernetes.wakes import Wakes
from harness.backends.kubernetes.world import RUN_LABEL, RunSpace, run_labels
from harness.backends.status import Status, settled, told, why_not
from harness.clients.kubernetes import Kube
from harness.errors import AccessDenied, PlatformError, RehearsalError, RequestFailed, ServiceFailed, UsageError
from harness.runtime.clock import Deadline
from harness.runtime.events import EventLog
from harness.runtime.wait import wait

IN_EFFECT_S = 30.0
"""A gateway that has not taken a route by then is broken."""
PROBE_EVERY_S = 0.02
LOOK_S = 0.5
"""How often it is asked whether the Pods that are to answer are still there."""
DEPLOYMENT = "apps/v1/Deployment"


class _Overtaken(PlatformError):
    """A routing that counts on Pods which have ended."""


class Router:
    """Applies InferenceService documents of one run; every method may be called from any thread."""

    def __init__(
        self,
        kube: Kube,
        space: RunSpace,
        events: EventLog,
        *,
        logger_url: applied.LoggerUrl = lambda url, _: url,
        before_removal: Callable[[], None] = lambda: None,
    ) -> None:
        self._kube = kube
        self._space = space
        self._events = events
        self._logger_url = logger_url
        self._before_removal = before_removal
        self._labels = run_labels(space.run_id)
        self._probe = GatewayProbe(space.gateway_url)
        self._services: dict[tuple[str, str], Service] = {}
        self._lock = threading.Lock()
        self._wakes = Wakes(kube, f"{RUN_LABEL}={space.run_id}", self._again)

    def apply(self, document: InferenceService) -> None:
        """Take a new or changed document; a mere change of weights is in effect when this returns."""
        with self._lock:
            service = self._services.get((document.namespace, document.name))
            fresh = service is None or service.deleted
            if service is None or service.deleted:
                service = self._services[document.namespace, document.name] = Service(document)
        with service.lock:
            if not fresh and not service.change(document):
                return
            self._wakes.follow(document.namespace)
            message = f"applied, generation {service.generation}"
            self._emit("service.applied", service, message, generation=service.generation)
            self._pass(service)

    def status(self, namespace: str, name: str) -> Status:
        """The status as last seen; UsageError if there is no such service."""
        service = self._service(namespace, name)
        with service.lock:
            return service.status()

    def wait_ready(self, namespace: str, name: str, deadline: Deadline) -> Status:
        """Wait until the service and its canaries are ready and routed; ServiceFailed if one cannot become so."""
        wait(
            lambda: settled(self.status(namespace, name)),
            what=f"InferenceService {namespace}/{name} ready",
            deadline=deadline,
            state=lambda: told(self.status(namespace, name)),
        )
        found = self.status(namespace, name)
        if reason := why_not(found):
            raise ServiceFailed(f"InferenceService {namespace}/{name}: {reason}")
        return found

    def delete(self, namespace: str, name: str, deadline: Deadline) -> None:
        """Remove the service: its route first, then its Pods, drained; returns when all of them have ended."""
        service = self._service(namespace, name)
        with service.lock:
            service.deleted = True
            self._emit("service.deleted", service, "deleted: routes are removed, replicas drain")
            self._unroute(service)
            self._kube.delete(applied.KIND, name, namespace)
            for revision in list(service.entrances):
                entrances.remove(self._kube, service, revision)
        selector = f"{applied.SERVICE_LABEL}={name}"
        wait(
            lambda: not self._kube.list("v1/Pod", namespace, labels=selector),
            what=f"InferenceService {namespace}/{name} deleted",
            deadline=deadline,
            every_s=0.2,
        )

    def documents(self) -> list[InferenceService]:
        """What was applied last, of every service."""
        with self._lock:
            return [service.document for _, service in sorted(self._services.items()) if not service.deleted]

    def close(self) -> None:
        """Stop reacting; what the run made goes with its space."""
        self._wakes.close()
        self._probe.close()

    def _service(self, namespace: str, name: str) -> Service:
        with self._lock:
            service = self._services.get((namespace, name))
        if service is None or service.deleted:
            known = ", ".join(f"{each.namespace}/{each.name}" for each in self.documents()) or "none"
            raise UsageError(f"no InferenceService {namespace}/{name} is applied; there are: {known}")
        return service

    def _again(self, namespace: str, name: str) -> bool:
        """A pass after a change that nobody asked for; whether another one is needed soon."""
        with self._lock:
            service = self._services.get((namespace, name))
        if service is None:
            return False
        with service.lock:
            if service.deleted:
                return False
            return self._tried(service)

    def _tried(self, service: Service) -> bool:
        """A pass whose errors become the service's status; whether it is to be tried again."""
        try:
            self._pass(service)
        except (RehearsalError, httpx.TransportError) as error:
            final = isinstance(error, AccessDenied) or getattr(error, "status", None) in (400, 422)
            problem = Failure("RouterFailed", f"{type(error).__name__}: {error}", final)
            if problem != service.problem:
                self._emit("router.failed", service, problem.message)
            service.problem = problem
            return not final
        return bool(service.unreached())

    def _pass(self, service: Service) -> None:
        """Look, decide, act, until nothing is left to do now."""
        while True:
            self._look(service)
            step = plan(service.wanted, service.view())
            if isinstance(step, Tell):
                self._tell(service, step.shape)
            elif step is not None:
                with contextlib.suppress(_Overtaken):  # then there is another step
                    self._route(service, step.routing)
            elif not self._tell_changes(service):
                break
        service.observed, service.problem = service.generation, None
        if service.unreached():
            self._wakes.soon(*service.key)

    def _look(self, service: Service) -> None:
        namespace, name = service.key
        found = replicas_of(self._kube.list("v1/Pod", namespace, labels=f"{applied.SERVICE_LABEL}={name}"))
        kserve = {}
        if service.told is not None and not found:
            kserve = (self._kube.find(applied.KIND, name, namespace) or {}).get("status", {})
        service.see(found, kserve)
        entrances.follow(self._kube, service, self._labels)
        for revision in service.unreached():
            if self._probe.reaches(service.document.host, name, revision):
                service.reached.add(revision)
        if change := service.serving_changed(time.time()):
            self._events.emit(change.kind, "/".join(service.key), change.message, level=change.level, **change.data)

    def _tell(self, service: Service, shape: Shape) -> None:
        document = self._document(service, shape)
        self._wait_dropped(service, shape)
        self._kube.apply(document, deadline=Deadline.after(IN_EFFECT_S))
        if service.told != shape:
            service.drop(set(service.told.revisions if service.told else ()) - set(shape.revisions))
            self._emit("service.told", service, f"KServe runs {', '.join(shape.revisions)}", revisions=shape.revisions)
        service.told, service.told_document = shape, document

    def _wait_dropped(self, service: Service, shape: Shape) -> None:
        """Let KServe remove a revision before it is told again: else it may keep the Pods that we take for leaving."""
        namespace, name = service.key
        for revision in service.dropped & set(shape.revisions):
            deployment = applied.workload_name(name, revision)
            self._kube.wait_deleted(DEPLOYMENT, deployment, namespace, Deadline.after(IN_EFFECT_S))
        service.dropped -= set(shape.revisions)

    def _tell_changes(self, service: Service) -> bool:
        """Tell KServe of new contents, sizes and shares of the revisions that it has; whether there were any."""
        shape = service.told
        if shape is None:
            return False
        if self._document(service, shape) == service.told_document:
            return False
        self._tell(service, shape)
        return True

    def _document(self, service: Service, shape: Shape) -> dict[str, Any]:
        weights = service.routing.weights
        return applied.service(service.document, shape, service.contents, weights, self._labels, self._logger_url)

    def _route(self, service: Service, routing: Routing) -> None:
        """Put a routing into effect; see harness.backends.kubernetes.routes for why in this order."""
        before, target = service.routing, self._target(service, routing)
        for revision in routing.listed:
            route = routes.alone_route(target, routing, revision)
            if service.alone.get(revision) != route:
                self._kube.apply(route)
                service.alone[revision] = route
        if routes.weighted(routing):
            self._switch(service, target, routing)
        for revision in set(service.alone) - set(routing.listed):
            del service.alone[revision]
            self._kube.delete(ROUTE_KIND, routes.alone_name(target.service, revision), target.namespace)
        if (routing.weights, routing.apart) != (before.weights, before.apart):
            weights, words = dict(routing.weights), f"traffic: {routing.words}"
            self._emit("service.routed", service, words, weights=weights, apart=routing.apart, copies=0)
        service.routing = routing

    def _switch(self, service: Service, target: Target, routing: Routing) -> None:
        """Have the main route of this routing in effect, and no other one."""
        old = service.main
        if not (fits := routes.same_backends(old, routing)):
            service.main_routes += 1
        new = routes.main_route(target, routing, service.main_routes)
        if old == new:
            return
        name = new["metadata"]["name"]
        self._kube.apply(routes.traffic_policy(target, routing, name))
        if old and not fits:
            self._try_out(service, target, routing)
        self._put(target.host, new)
        service.main = new
        if old and not fits:
            self._put(target.host, routes.retired(old))
            self._before_removal()
            self._delete_route(old["metadata"]["name"], target.namespace)

    def _try_out(self, service: Service, target: Target, routing: Routing) -> None:
        """Have every cluster of a new main route answer: Envoy has a route before its clusters are warm.

        Raises _Overtaken if what is to answer has ended meanwhile: to wait for it would keep the others from traffic.
        """
        trial = routes.main_route(target, routing, service.main_routes, trial=True)
        self._put(target.host, trial)
        name, missing = trial["metadata"]["name"], set(routes.weighted(routing))
        look = Deadline.after(LOOK_S)

        def all_answered() -> bool:
            nonlocal look
            missing.discard(self._probe.answered_by(target.host, target.service, name))
            if not missing or not look.passed():
                return not missing
            look = Deadline.after(LOOK_S)
            return not missing <= self._alive(service, missing)

        self._confirm(f"every revision of route {name}", all_answered)
        if missing:
            self._delete_route(name, target.namespace)
            raise _Overtaken(f"{', '.join(sorted(missing))} ended before route {name} led there")

    def _alive(self, service: Service, unknown: Set[str]) -> Set[str]:
        """The revisions of which a replica answers; `unknown` while the API server does not say."""
        namespace, name = service.key
        try:
            found = self._kube.list("v1/Pod", namespace, labels=f"{applied.SERVICE_LABEL}={name}")
        except RequestFailed:
            return unknown
        return alive_revisions(replicas_of(found))

    def _put(self, host: str, route: Mapping[str, Any]) -> None:
        name, version = route["metadata"]["name"], routes.version_of(route)
        self._kube.apply(route)
        self._confirm(f"route {name}", lambda: self._probe.in_effect(host, name, version))

    def _delete_route(self, name: str, namespace: str) -> None:
        self._kube.delete(ROUTE_KIND, name, namespace)
        self._kube.delete(POLICY_KIND, name, namespace)

    def _unroute(self, service: Service) -> None:
        """No request comes to the service any more when this returns."""
        for revision in service.alone:
            self._kube.delete(
                ROUTE_KIND, routes.alone_name(service.document.name, revision), service.document.namespace
            )
        if service.main:
            name = service.main["metadata"]["name"]
            self._delete_route(name, service.document.namespace)
            self._confirm(f"the end of route {name}", lambda: self._probe.gone(service.document.host, name))

    def _confirm(self, what: str, check: Callable[[], bool]) -> None:
        try:
            wait(check, what=f"gateway: {what}", deadline=Deadline.after(IN_EFFECT_S), every_s=PROBE_EVERY_S)
        except PlatformError as error:
            raise PlatformError(
                error.message, hint="kubectl describe httproute says what the gateway refuses"
            ) from error

    def _target(self, service: Service, routing: Routing) -> Target:
        document = service.document
        return Target(
            service=document.name,
            namespace=document.namespace,
            host=document.host,
            gateway=self._space.gateway,
            labels=self._labels,
            timeout_s=document.spec.predictor.timeout or DEFAULT_TIMEOUT_S,
        )

    def _emit(self, kind: str, service: Service, message: str, **data: Any) -> None:
        self._events.emit(kind, "/".join(service.key), message, **data)
