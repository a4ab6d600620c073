"""The one writer of Envoy's files: each change is written, renamed into place, and confirmed to be in effect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import httpx

from harness.backends.embedded.planner import Address, Routing
from harness.backends.embedded.revisions import Desired
from harness.backends.embedded.routes import (
    TRANSFORMER,
    Route,
    cluster_name,
    endpoint_file,
    render_clusters,
    render_endpoints,
    render_routes,
)
from harness.backends.embedded.starter import Running, replace_text
from harness.clients.envoy import ClusterCounts, EnvoyClient
from harness.components.gateway import CDS, EDS, RDS
from harness.errors import PlatformError
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait

CONFIRM_S = 10.0
_EVERY_S = 0.0005  # a change is in effect after 1-2 ms


@dataclass(frozen=True)
class Endpoints:
    """One cluster's addresses: those that get requests, and those that only end what they have."""

    serving: frozenset[Address]
    draining: frozenset[Address] = frozenset()


class GatewayConfig:
    """What Envoy routes; not thread-safe, its one owner is the controller."""

    def __init__(self, gateway: Running) -> None:
        self._gateway = gateway
        self._folder = gateway.folder
        self._scratch = gateway.folder / "scratch"
        self._scratch.mkdir(exist_ok=True)
        self._endpoints: dict[str, Endpoints] = {}
        self._routes: dict[str, Route] = {}
        self.client = EnvoyClient(gateway.url("http"), gateway.url("admin"))

    def route(self, wanted: Desired, routing: Routing, draining: Mapping[str, frozenset[Address]]) -> None:
        """Put one service's endpoints and weights into effect; endpoints first: no weight may meet an empty cluster.

        `draining`: workload -> addresses that are taken out of service; Envoy drops what it is not told of at once, and
        with it the count of the requests that are still there.
        """
        clusters = {
            cluster_name(wanted.namespace, wanted.name, workload): Endpoints(
                addresses, draining.get(workload, frozenset()) - addresses
            )
            for workload, addresses in routing.endpoints.items()
        }
        self._set_endpoints(clusters)
        self._set_routes({**self._routes, **{route.host: route for route in _routes(wanted, routing)}}, wanted)

    def remove(self, wanted: Desired) -> None:
        """Take one service's hosts away."""
        gone = {wanted.host, wanted.predictor_host}
        self._set_routes({host: route for host, route in self._routes.items() if host not in gone}, None)

    def drop_cluster(self, cluster: str) -> None:
        """Forget a cluster that no route uses; its counters go with it."""
        if self._endpoints.pop(cluster, None) is not None:
            self._write(f"{CDS}/cds.json", render_clusters(self._endpoints, str(self._folder)))

    def active_requests(self, cluster: str, address: Address) -> int:
        return self.client.active_requests(cluster, address)

    def counts(self, namespace: str, name: str, slower_than_ms: float) -> dict[str, ClusterCounts]:
        """Revision -> its cumulative counts; a transformer is no revision."""
        found = self.client.counts(cluster_name(namespace, name, ""), slower_than_ms)
        counts = {cluster.rpartition("/")[2]: value for cluster, value in found.items()}
        counts.pop(TRANSFORMER, None)
        return counts

    def close(self) -> None:
        self.client.close()

    def _set_endpoints(self, clusters: Mapping[str, Endpoints]) -> None:
        changed = {name: found for name, found in clusters.items() if self._endpoints.get(name) != found}
        if not changed:
            return
        for name, found in changed.items():
            self._write(f"{EDS}/{endpoint_file(name)}", render_endpoints(name, found.serving, found.draining))
        if not changed.keys() <= self._endpoints.keys():
            self._write(f"{CDS}/cds.json", render_clusters({**self._endpoints, **changed}, str(self._folder)))
        self._endpoints.update(changed)
        serving = {name: found.serving for name, found in changed.items()}
        self._confirm(lambda: serving.items() <= self.client.endpoints().items(), f"endpoints of {', '.join(changed)}")

    def _set_routes(self, routes: dict[str, Route], wanted: Desired | None) -> None:
        if routes == self._routes:
            return
        text, version = render_routes(routes.values())
        before = self._refusals()
        self._write(f"{RDS}/rds.json", text)
        what = f"routes of {wanted.namespace}/{wanted.name}" if wanted else "removed routes"
        self._confirm(lambda: self.client.routes_version() == version, what, lambda: self._refusals() > before)
        self._routes = routes

    def _confirm(self, in_effect: Callable[[], bool], what: str, refused: Callable[[], bool] = bool) -> None:
        wait(
            in_effect,
            what=f"gateway: {what} in effect",
            deadline=Deadline.after(CONFIRM_S),
            fail=lambda: f"Envoy refused them; {self._last_words()}" if refused() else None,
            state=self._last_words,
            every_s=_EVERY_S,
        )

    def _refusals(self) -> int:
        """Route files that Envoy has refused; 0 while it is being started again, as it counts from there."""
        try:
            return self.client.routes_rejected()
        except httpx.TransportError:
            return 0

    def _last_words(self) -> str:
        return f"its log ends with: {self._gateway.child.tail(3)}"

    def _write(self, name: str, text: str) -> None:
        try:
            replace_text(self._folder / name, text, beside=self._scratch)
        except OSError as error:
            raise PlatformError(f"gateway: cannot write {self._folder / name}: {error.strerror}") from error


def _routes(wanted: Desired, routing: Routing) -> list[Route]:
    weights = {
        cluster_name(wanted.namespace, wanted.name, workload): weight for workload, weight in routing.weights.items()
    }
    timeout = wanted.timeout_s
    if wanted.transformer is None:
        return [Route(wanted.host, weights, timeout)]
    front = cluster_name(wanted.namespace, wanted.name, TRANSFORMER)
    through = {front: 100} if TRANSFORMER in routing.endpoints else {}
    return [
        Route(wanted.host, through, timeout, mirror_served_by=False),
        Route(wanted.predictor_host, weights, timeout),
    ]
