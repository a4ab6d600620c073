"""A run's space in a cluster without a cluster: what it leaves when something goes wrong at its end, and its server."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from harness.backends.kubernetes import mlflow_pool
from harness.backends.kubernetes.mlflow_pool import MlflowPool
from harness.backends.kubernetes.runspace import Space, Tracking
from harness.backends.kubernetes.world import SYSTEM, GatewayRef
from harness.errors import PlatformError, RequestFailed
from harness.runtime.clock import Deadline


class Namespaces:
    """An API server that only keeps namespaces; it refuses to delete "stubborn"."""

    def __init__(self) -> None:
        self.there: set[str] = set()

    def apply(self, document: dict[str, Any]) -> None:
        self.there.add(document["metadata"]["name"])

    def delete(self, kind: str, name: str) -> None:
        if name == "stubborn":
            raise RequestFailed("delete stubborn: 500", status=500)
        self.there.discard(name)


class NoServer(Tracking):
    """A run without an MLflow server, which notes its end."""

    closed = False

    def close(self) -> None:
        self.closed = True


def a_space(kube: Any, tracking: Tracking) -> Space:
    return Space(
        kube,
        "run",
        physical=lambda logical: logical,
        makes_namespaces=True,
        gateway=GatewayRef(SYSTEM),
        gateway_url=str,
        prometheus_url=str,
        alertmanager_url=str,
        tracking=tracking,
    )


def test_a_namespace_that_does_not_go_keeps_no_other() -> None:
    kube, tracking = Namespaces(), NoServer()
    space = a_space(kube, tracking)
    for name in ("production", "stubborn", "staging"):
        space.namespace(name)
    with pytest.raises(RequestFailed, match="delete stubborn"):
        space.close()
    assert (kube.there, tracking.closed) == ({"stubborn"}, True)


def test_no_namespace_is_made_for_a_run_that_has_ended() -> None:
    """Nobody would delete it: what asks was still on its way when Ctrl-C came."""
    kube = Namespaces()
    space = a_space(kube, NoServer())
    space.close()
    with pytest.raises(PlatformError, match="the run has ended"):
        space.namespace("production")
    assert not kube.there


def test_a_spare_that_failed_in_the_background_fails_no_later_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is none then, and one is started."""
    spares: list[dict[str, Any]] = []
    kube: Any = None
    pool = MlflowPool(kube, Path(), ())
    failed: Future[None] = Future()
    failed.set_exception(PlatformError("the API server was away"))
    pool._filling = failed
    monkeypatch.setattr(pool, "_spares", lambda: list(spares))
    monkeypatch.setattr(pool, "_start", lambda: spares.append({"metadata": {"name": "mlflow-1"}}))
    monkeypatch.setattr(mlflow_pool, "rolled_out", lambda spare: True)
    pool.prepare(Deadline.after(1))
    assert spares
    pool.close()
