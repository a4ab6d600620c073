"""A run's ground in Docker: its network and volumes, the labels of all that it makes, and the end of it."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property

from docker.errors import APIError
from docker.types import IPAMConfig, IPAMPool
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.network import Network

from harness.backends.containers import sweep
from harness.containers.labels import RUN, owned
from harness.containers.refusals import in_words
from harness.errors import CapabilityMissing, PlatformError

LAUNCH_S = 60.0
NETWORK_TRIES = 5
_OVERLAPS = "overlaps"
_NONE_LEFT = ("non-overlapping IPv4 address pool", "address pools have been fully subnetted")
_FREE = "rehearse gc, docker network prune, or more default-address-pools in Docker's daemon.json"


class Ground:
    """Where the containers of one run stand; `name` begins the names of what it makes, and `labels` are theirs."""

    def __init__(self, name: str = "", labels: Mapping[str, str] | None = None) -> None:
        self.name = name or f"rehearsal-{secrets.token_hex(4)}"
        self.labels = dict(labels or owned(self.name))
        self._lock = threading.Condition()
        self._launches = 0
        self._closed = False

    @cached_property
    def docker(self) -> DockerClient:
        """The engine's client; CapabilityMissing if there is no engine to talk to."""
        with in_words("Docker"):
            return DockerClient()

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def network(self) -> Network:
        """The run's private network; made when first asked for."""
        with self._lock:
            return self._network

    def volume(self, name: str, options: dict[str, str] | None = None) -> str:
        """The full name of a volume of this run; made if it is not there. `options`: those of Docker's own driver."""
        full = f"{self.name}-{name}"
        with self.launching(full), in_words(full):
            self.docker.client.volumes.create(full, driver_opts=options or {}, labels=self.labels)
        return full

    @contextmanager
    def launching(self, name: str) -> Iterator[None]:
        """While something is being made here, `close` waits; PlatformError once it was called."""
        with self._lock:
            if self._closed:
                raise PlatformError(f"{name}: the run has ended")
            self._launches += 1
        try:
            yield
        finally:
            with self._lock:
                self._launches -= 1
                self._lock.notify_all()

    def close(self) -> None:
        """Remove all that the run has made, when what is being made is there to be found; safe to call twice."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._lock.wait_for(lambda: not self._launches, LAUNCH_S)
        sweep.remove(f"{RUN}={self.name}")

    @cached_property
    def _network(self) -> Network:
        """With its range of addresses named: Docker then lets a container that was cut off have its address again."""
        if self._closed:  # nobody would remove it
            raise PlatformError("network: the run has ended")
        with in_words("network"):
            try:
                return self._ranged()
            except APIError as error:
                if any(word in str(error) for word in _NONE_LEFT):
                    raise CapabilityMissing("Docker has no addresses left for a network.", hint=_FREE) from error
                raise

    def _ranged(self) -> Network:
        for left in reversed(range(NETWORK_TRIES)):
            first = self._created({})
            pool = first._unwrap_network.attrs["IPAM"]["Config"][0]
            first.remove()
            try:
                ranges = IPAMConfig(pool_configs=[IPAMPool(subnet=pool["Subnet"], gateway=pool.get("Gateway"))])
                return self._created({"ipam": ranges})
            except APIError as error:  # another network took the range meanwhile
                if not left or _OVERLAPS not in str(error):
                    raise
        raise PlatformError("network: no range of addresses")

    def _created(self, options: dict[str, object]) -> Network:
        network = Network(docker_network_kw={"driver": "bridge", "labels": self.labels, **options})
        network.name = self.name
        network.create()
        network._unwrap_network.reload()
        return network
