"""The one writer of Envoy's files: each change is written, renamed into place, and confirmed to be in effect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import httpx

from harness.backends.assignment import HeaderSplit, Split, UserSplit
from harness.backends.embedded.planner import Address, Routing
from harness.backends.embedded.revisions import Desired
from harness.backends.embedded.routes import (
    TRANSFORMER,
    Match,
    Route,
    cluster_name,
    endpoint_file,
    render_clusters,
    render_endpoints,
    render_routes,
    shadow_host,
)
from harness.backends.embedded.starter import Running
from harness.clients.envoy import ClusterCounts, EnvoyClient
from harness.components.files import replace_text
from harness.components.gateway import CDS, EDS, RDS
from harness.errors import PlatformError
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait

CONFIRM_S = 10.0
_EVERY_S = 0.0005  # a change is in effect after 1-2 ms


Clients = Callable[[str], tuple[str, ...]]


@dataclass(frozen=True)
class Endpoints:
    """One cluster's addresses: those that get requests, and those that only end what they have."""

    serving: frozenset[Address]
    draining: frozenset[Address] = frozenset()


class GatewayConfig:
    """What Envoy routes; not thread-safe, its one owner is the controller. `clients` may ask a namespace's services."""

    def __init__(self, gateway: Running, clients: Clients | None = None) -> None:
        self._gateway = gateway
        self._clients = clients
        self._folder = gateway.folder
        self._scratch = gateway.folder / "scratch"
        self._scratch.mkdir(exist_ok=True)
        self._endpoints: dict[str, Endpoints] = {}
        self._routes: dict[tuple[str, str], tuple[Route, ...]] = {}  # by (namespace, name) of the service
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
        key = wanted.namespace, wanted.name
        clients = self._clients(wanted.namespace) if self._clients else None
        routes = tuple(replace(route, clients=clients) for route in routes_of(wanted, routing))
        self._set_routes({**self._routes, key: routes}, f"routes of {'/'.join(key)}")

    def remove(self, wanted: Desired) -> None:
        """Take one service's hosts away."""
        gone = wanted.namespace, wanted.name
        rest = {key: routes for key, routes in self._routes.items() if key != gone}
        self._set_routes(rest, f"routes without {'/'.join(gone)}")

    def write_again(self) -> None:
        """Put all of it into effect anew, after the gateway was started again: its files may have been spoilt."""
        endpoints, routes = self._endpoints, self._routes
        self._endpoints, self._routes = {}, {}
        try:
            self._set_endpoints(endpoints)
            self._set_routes(routes, "routes after a restart")
        finally:
            self._endpoints, self._routes = endpoints, routes

    def drop_cluster(self, cluster: str) -> None:
        """Forget a cluster, and its counters with it, unless a route uses it: a service of the same name may be new."""
        if any(route.uses(cluster) for routes in self._routes.values() for route in routes):
            return
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

    def _set_routes(self, routes: dict[tuple[str, str], tuple[Route, ...]], what: str) -> None:
        if routes == self._routes:
            return
        every = (route for each in routes.values() for route in each)
        text, version = render_routes(every, keys=self._clients is not None)
        before = self._refusals()
        self._write(f"{RDS}/rds.json", text)
        self._confirm(lambda: self.client.routes_version() == version, what, lambda: self._refusals() > before)
        self._routes = routes

    def _confirm(self, in_effect: Callable[[], bool], what: str, refused: Callable[[], bool] = bool) -> None:
        wait(
            in_effect,
            what=f"gateway: {what} in effect",
            deadline=Deadline.after(CONFIRM_S),
            fail=lambda: self._gateway.failed or (f"Envoy refused them; {self._last_words()}" if refused() else None),
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


def routes_of(wanted: Desired, routing: Routing) -> tuple[Route, ...]:
    """One service's routes: its host, that of the predictors behind its transformer, and that of mirrored copies."""

    def cluster(workload: str) -> str:
        return cluster_name(wanted.namespace, wanted.name, workload)

    host = wanted.predictors_host
    predictors = Route(
        host,
        {cluster(workload): weight for workload, weight in routing.weights.items()},
        wanted.timeout_s,
        hash_header=routing.split.header if isinstance(routing.split, UserSplit) else "",
        match=_match(routing.split, cluster(routing.apart)) if routing.apart else None,
        copies=routing.copies,
    )
    shadow = [Route(shadow_host(host), {cluster(routing.apart): 100}, wanted.timeout_s)] if routing.copies else []
    if wanted.transformer is None:
        return (predictors, *shadow)
    through = {cluster(TRANSFORMER): 100} if TRANSFORMER in routing.endpoints else {}
    return (Route(wanted.host, through, wanted.timeout_s, tells_revision=False), predictors, *shadow)


def _match(split: Split | None, cluster: str) -> Match | None:
    return Match(split.name, split.value, cluster) if isinstance(split, HeaderSplit) else None
