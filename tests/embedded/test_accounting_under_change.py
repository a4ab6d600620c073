"""Every request is explained while the service changes under it: promotions, mirrored copies, a gateway that dies."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from harness import Platform
from harness.clients.http import client
from harness.errors import ConfigError
from harness.lifecycle.dataset import Dataset
from harness.load import Load
from harness.load.records import RECORD
from harness.model_version import ModelVersion
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait
from harness.service import Service

RPS = 1000
PROMOTIONS = 15


@pytest.fixture
def model(platform: Platform, high_utiliser: Dataset) -> ModelVersion:
    return platform.train(high_utiliser, max_depth=2)


@pytest.mark.alone
def test_no_request_is_unexplained_through_fifteen_promotions_at_a_thousand_a_second(
    platform: Platform, model: ModelVersion
) -> None:
    """Each revision gets half of the traffic, then all of it, and the one before is retired; about a second each."""
    service = platform.deploy(model)
    with platform.load(service, rps=RPS) as load:
        for number in range(PROMOTIONS):
            name = f"r{number}"
            service.apply(service.document.with_canary(name, model.uri, 50))
            service.apply(service.document.promoted(name))
            _sent(load, number + 1)
    ledger = load.ledger
    assert (ledger.unexplained, ledger.examples) == (0, ())
    assert ledger.sent >= PROMOTIONS * RPS * 0.95
    assert sum(ledger.classes.values()) == ledger.sent
    assert all(ledger.answered(f"r{number}") > 0 for number in range(PROMOTIONS))
    assert {name.partition(":")[0] for name in ledger.classes} <= {"answered", "never sent"}
    assert all(latency.failed == 0 for latency in ledger.latency if latency.revision != "none")


def test_mirrored_copies_are_matched_to_their_requests(platform: Platform, model: ModelVersion) -> None:
    """A canary that is given a copy of each request: the ledger has both answers in one line."""
    service = platform.deploy(model)
    service.apply(service.document.with_canary("shadow", model.uri, 0).with_mirror(100))
    with platform.load(service, rps=100) as load:
        _sent(load, 2)
    ledger = load.ledger
    assert (ledger.classes, ledger.unexplained) == ({"answered:v1": ledger.sent}, 0)
    assert ledger.mirrored >= ledger.sent * 0.9
    assert {row["copy_code"] for row in _rows(ledger.path)} <= {200, None}


def test_a_load_is_explained_though_the_gateway_dies(platform: Platform, model: ModelVersion) -> None:
    """It is started again by its recipe; the run's record tells what was lost with it."""
    service = platform.deploy(model)
    with platform.load(service, rps=100) as load:
        _sent(load, 1)
        (gateway,) = (child for child in platform.backend.supervisor.children() if child.name == "envoy")
        os.kill(gateway.pid, signal.SIGKILL)
        wait(lambda: _serves(platform, service), what="the gateway again", deadline=Deadline.after(30))
        _sent(load, 1)
    (record,) = platform.run.record.loads
    assert record.unexplained == 0
    assert record.classes["never sent:no connection"] > 0
    assert sum(record.classes.values()) == record.sent


def test_the_record_has_the_cores_of_gateway_and_revision_by_the_second(
    platform: Platform, model: ModelVersion
) -> None:
    """Each second of a load that lasts some has what the serving side used of the machine."""
    service = platform.deploy(model)
    with platform.load(service, rps=100) as load:
        _sent(load, 5)
    (record,) = platform.run.record.loads
    assert record.timeline is not None
    cores = record.timeline.server_cpu
    assert set(cores) == {"gateway", "v1"}
    for column in cores.values():
        known = [value for value in column if math.isfinite(value)]
        assert len(column) == len(record.timeline.offered)
        assert len(known) >= 3
        assert 0 < sum(known) / len(known) < 2


@pytest.mark.parametrize("field", [{"rps": 0}, {"arrivals": "bursts"}, {"processes": 0}, {"users": -1}, {"max_s": 0}])
def test_a_load_that_makes_no_sense_leaves_nothing_behind(platform: Platform, field: dict[str, Any]) -> None:
    """It is refused before rows are drawn for it, and before its folder is made."""
    nobody: Any = None
    with (
        pytest.raises(ConfigError, match=rf"load\..*{next(iter(field))}: expected"),
        platform.load(nobody, **{"rps": 1, **field}),
    ):
        pass
    assert not (platform.run.folder / "loads").exists()


def _sent(load: Load, seconds: float) -> None:
    """Wait until the generator has made its requests of so many seconds, from the load's beginning."""
    wanted = load.spec.shape.requests(seconds) * RECORD.size
    records = load.files.records(0)
    wait(lambda: records.stat().st_size >= wanted, what="requests", deadline=Deadline.after(60), every_s=0.02)


def _serves(platform: Platform, service: Service) -> bool:
    with client(platform.backend.gateway_url) as http:
        return http.get(f"/v1/models/{service.name}", headers={"host": service.host}).status_code == 200


def _rows(ledger: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    return list(pq.read_table(ledger).to_pylist())
