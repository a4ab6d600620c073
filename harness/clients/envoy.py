"""Envoy's admin interface and its data plane, as far as a rehearsal asks: what is in effect, who is busy, counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from harness.clients.http import client, expect, request
from harness.components.gateway import DRAINING, ROUTES, VERSION_HEADER, VERSION_HOST

Address = tuple[str, int]


@dataclass(frozen=True)
class ClusterCounts:
    """One cluster's requests since Envoy started it: completed, answered 4xx or 5xx (by whomever), slower than a bound.

    `routed` are all that were given to the cluster, those that it has not answered yet among them.
    Latencies come from a histogram that is behind the other counters by up to the gateway's flush interval, and has
    only the requests that an upstream answered: `timed` is their number.
    """

    requests: int
    failed: int
    slow: int
    timed: int
    routed: int


@dataclass(frozen=True)
class Traffic:
    """One cluster's requests: those on their way now, and all that ever came to it."""

    active: int
    begun: int


class EnvoyClient:
    """Asks one Envoy; every call is one HTTP request on 127.0.0.1; httpx.TransportError while it is not there."""

    def __init__(self, gateway_url: str, admin_url: str, *, timeout_s: float = 5.0) -> None:
        self._gateway = client(gateway_url, timeout_s=timeout_s)
        self._admin = client(admin_url, timeout_s=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._gateway.close()
        self._admin.close()

    def routes_version(self) -> str:
        """The version of the routes that the worker answers with now; asked on the data plane, so it is in effect."""
        response = self._gateway.get("/", headers={"host": VERSION_HOST})
        version: str = response.headers.get(VERSION_HEADER, "")
        return version

    def routes_rejected(self) -> int:
        """How many route files Envoy has refused so far."""
        name = f"http.{ROUTES}.rds.{ROUTES}.update_rejected"
        return self._values(f"^{name.replace('.', '[.]')}$").get(name, 0)

    def endpoints(self) -> dict[str, frozenset[Address]]:
        """Each active cluster's addresses that may get requests: those that drain are left out."""
        return {
            cluster: frozenset(_address(host) for host in hosts if not _draining(host))
            for cluster, hosts in self._hosts().items()
        }

    def active_requests(self, cluster: str, address: Address) -> int:
        """Requests that this endpoint has not answered yet, and those of its cluster that wait for a connection."""
        waiting = self._values(f"^cluster[.]{cluster}[.]upstream_rq_pending_active$")
        hosts = self._hosts().get(cluster, [])
        return sum(waiting.values()) + sum(_active(host) for host in hosts if _address(host) == address)

    def counts(self, prefix: str, slower_than_ms: float) -> dict[str, ClusterCounts]:
        """Counts of every cluster whose name starts with `prefix`; `slower_than_ms` is a bound of the histogram."""
        wanted = f"^cluster[.]{prefix}[^.]*[.]upstream_rq_(completed|active|pending_active|4xx|5xx|time)$"
        params = {"format": "json", "histogram_buckets": "cumulative", "filter": wanted}
        stats = request(self._admin, "GET", "/stats", params=params).json()["stats"]
        values = {stat["name"]: int(stat["value"]) for stat in stats if "value" in stat}
        latencies = _latencies(stats, slower_than_ms)
        clusters = {name.split(".")[1] for name in values}
        return {
            cluster: ClusterCounts(
                requests=values.get(f"cluster.{cluster}.upstream_rq_completed", 0),
                failed=sum(values.get(f"cluster.{cluster}.upstream_rq_{code}", 0) for code in ("4xx", "5xx")),
                slow=slow,
                timed=timed,
                routed=sum(
                    values.get(f"cluster.{cluster}.upstream_rq_{kind}", 0)
                    for kind in ("completed", "active", "pending_active")
                ),
            )
            for cluster in sorted(clusters)
            for timed, slow in [latencies.get(f"cluster.{cluster}.upstream_rq_time", (0, 0))]
        }

    def traffic(self) -> dict[str, Traffic]:
        """Every cluster's requests; one that has none yet is there with zeros."""
        found = self._values("^cluster[.][^.]*[.]upstream_rq_(completed|active|pending_active)$")
        by_kind: dict[str, dict[str, int]] = {}
        for name, value in found.items():
            _, cluster, kind = name.split(".")
            by_kind.setdefault(cluster, {})[kind] = value
        return {
            cluster: Traffic(
                kinds.get("upstream_rq_active", 0) + kinds.get("upstream_rq_pending_active", 0), sum(kinds.values())
            )
            for cluster, kinds in by_kind.items()
        }

    def _hosts(self) -> dict[str, list[Mapping[str, Any]]]:
        body = expect(self._admin.get("/clusters", params={"format": "json"})).json()
        return {status["name"]: status.get("host_statuses", []) for status in body.get("cluster_statuses", [])}

    def _values(self, pattern: str) -> dict[str, int]:
        stats = expect(self._admin.get("/stats", params={"format": "json", "filter": pattern})).json()["stats"]
        return {stat["name"]: int(stat["value"]) for stat in stats if "value" in stat}


def _address(status: Mapping[str, Any]) -> Address:
    address = status["address"]["socket_address"]
    return address["address"], int(address["port_value"])


def _draining(status: Mapping[str, Any]) -> bool:
    return bool(status.get("health_status", {}).get("eds_health_status") == DRAINING)


def _active(status: Mapping[str, Any]) -> int:
    return sum(int(stat.get("value", 0)) for stat in status.get("stats", []) if stat["name"] == "rq_active")


def _latencies(stats: list[dict[str, Any]], slower_than_ms: float) -> dict[str, tuple[int, int]]:
    """Histogram name -> observations, and those of them above the bound."""
    histograms = [found for stat in stats for found in stat.get("histograms", [])]
    return {found["name"]: _above(found["buckets"], slower_than_ms) for found in histograms}


def _above(buckets: list[dict[str, float]], bound: float) -> tuple[int, int]:
    total = max((bucket["cumulative"] for bucket in buckets), default=0)
    below = max((b["cumulative"] for b in buckets if b["upper_bound"] <= bound), default=0)
    return int(total), int(total - below)
