"""Every arrow of the architecture and every non-arrow, tried by real connections between Pods and from outside."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from harness.backends.kubernetes import arrows
from harness.backends.kubernetes.arrows import Place, Places
from harness.clients.kubernetes import Kube
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait
from tests.kubernetes import network_lab
from tests.kubernetes.network_lab import ENFORCED_S, Enforcing, Spot, all_opened, reached

_READY_S = 180.0
_Cell = tuple[Spot, Spot, int]


@dataclass(frozen=True)
class Tried:
    """What could be opened before and after the policies were there; from outside by (spot, port)."""

    enforcer: str
    before: Mapping[_Cell, bool]
    after: Mapping[_Cell, bool]
    outside: Mapping[tuple[Spot, int], bool]


@pytest.fixture(scope="module")
def kube(kind_cluster: Any) -> Iterator[Kube]:
    with Kube.connect(kind_cluster.kubeconfig_path, kind_cluster.context) as kube:
        yield kube


@pytest.fixture(scope="module")
def namespaces(kube: Kube) -> Iterator[Mapping[str, str]]:
    """Namespaces of this test that stand for those of a platform."""
    suffix = uuid.uuid4().hex[:8]
    logical = {"staging": "staging", "production": "production", "system": None, "proxies": None, "elsewhere": None}
    names = {place: f"network-{place}-{suffix}" for place in logical}
    try:
        for place, name in names.items():
            kube.apply(network_lab.namespace(name, logical[place]))
        yield names
    finally:
        for name in names.values():
            kube.delete("v1/Namespace", name)


@pytest.fixture(scope="module")
def spots(kube: Kube, namespaces: Mapping[str, str]) -> list[Spot]:
    """A running Pod for each party."""
    found = network_lab.spots(namespaces)
    kube.apply_all(network_lab.pod(spot) for spot in found)
    kube.apply_all(network_lab.node_port(spot) for spot in found if _has_ports(spot))
    deadline = Deadline.after(_READY_S)
    return [network_lab.started(kube, spot, deadline) for spot in found]


@pytest.fixture(scope="module")
def tried(
    kube: Kube,
    namespaces: Mapping[str, str],
    spots: list[Spot],
    record_testsuite_property: Callable[[str, object], None],
) -> Iterator[Tried]:
    """Everything tried without the policies, and again with them."""
    resolver = network_lab.dns(kube)
    before = all_opened(kube, spots, resolver)
    doors = _doors(kube, spots)
    wait(lambda: all(_reached(doors).values()), what="the node's ports", deadline=Deadline.after(ENFORCED_S))
    _apply_policies(kube, namespaces)
    forbidden = spots[-1], next(spot for spot in spots if spot.party is arrows.POSTGRESQL)
    with Enforcing(kube, *forbidden) as name:
        record_testsuite_property("network_policy_enforcer", name)
        yield Tried(name, before, all_opened(kube, spots, resolver), _reached(doors))


def test_without_policies_every_connection_can_be_opened(tried: Tried) -> None:
    """So that a connection that cannot be opened afterwards is the policies' doing."""
    assert [_title(cell) for cell, opened in tried.before.items() if not opened] == []


def test_the_arrows_and_nothing_else_can_be_opened(tried: Tried) -> None:
    """From each party to each port of each other one, in its own namespace and in others."""
    wrong = [
        f"{'opened' if opened else 'not opened'}: {_title(cell)}"
        for cell, opened in tried.after.items()
        if opened != network_lab.expected(*cell)
    ]
    assert wrong == [], f"enforcer: {tried.enforcer}"
    assert len(tried.after) > 2000
    assert 20 < sum(tried.after.values()) < len(tried.after) / 2


@pytest.mark.parametrize("arrow", arrows.ARROWS, ids=lambda arrow: f"{arrow.source.name} to {arrow.target.name}")
def test_each_arrow_was_tried(tried: Tried, arrow: arrows.Arrow) -> None:
    """None of them is left out because no Pod stands at its end."""
    if arrow.source is arrows.OUTSIDE:
        answers = [answer for (spot, port), answer in tried.outside.items() if _ends_at(arrow, spot, port)]
    else:
        answers = [
            answer
            for (source, target, port), answer in tried.after.items()
            if arrows.covers(arrow.source, source.party) and _ends_at(arrow, target, port)
            if source.namespace == target.namespace or arrow.source.place is not arrow.target.place or arrow.across
        ]
    assert len(answers) >= len(arrow.ports)
    assert all(answers)


def test_from_outside_only_what_is_meant_for_outside_is_reached(tried: Tried) -> None:
    """Through ports of the node, where those of every party are open."""
    wrong = [
        f"{'reached' if answer else 'not reached'}: {spot.title}, port {port}"
        for (spot, port), answer in tried.outside.items()
        if answer != (arrows.may_connect(arrows.OUTSIDE, spot.party, port) or not arrows.held(spot.party))
    ]
    assert wrong == [], f"enforcer: {tried.enforcer}"
    assert {True, False} == set(tried.outside.values())


def _ends_at(arrow: arrows.Arrow, target: Spot, port: int) -> bool:
    return arrows.covers(arrow.target, target.party) and port in arrow.ports


def _has_ports(spot: Spot) -> bool:
    return any(arrow.target.name == spot.party.name for arrow in arrows.ARROWS)


def _doors(kube: Kube, spots: list[Spot]) -> dict[tuple[Spot, int], tuple[str, int]]:
    """Where each party's ports are reached from outside: (spot, port) -> (the node's address, its port)."""
    addresses = kube.list("v1/Node")[0]["status"]["addresses"]
    node = next(each["address"] for each in addresses if each["type"] == "InternalIP")
    return {
        (spot, each["port"]): (node, each["nodePort"])
        for spot in spots
        if _has_ports(spot)
        for each in kube.get("v1/Service", spot.pod, spot.namespace)["spec"]["ports"]
    }


def _reached(doors: Mapping[tuple[Spot, int], tuple[str, int]]) -> dict[tuple[Spot, int], bool]:
    with ThreadPoolExecutor(len(doors)) as pool:
        return dict(zip(doors, pool.map(lambda door: reached(*door), doors.values()), strict=True))


def _apply_policies(kube: Kube, namespaces: Mapping[str, str]) -> None:
    places = Places(system=namespaces["system"], proxies=namespaces["proxies"])
    where = {"staging": Place.MODELS, "production": Place.MODELS, "system": Place.SYSTEM, "proxies": Place.PROXIES}
    for name, place in where.items():
        kube.apply_all(arrows.policies(place, namespaces[name], places))


def _title(cell: _Cell) -> str:
    source, target, port = cell
    return f"{source.title} to {target.title}, port {port}"
