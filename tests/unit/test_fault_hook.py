"""Faults that a model server commits when a file says so."""

from __future__ import annotations

import asyncio
import json
import random
import statistics
from pathlib import Path
from typing import Any

import pytest

from harness.components.fault_hook import FaultHook, ServerFault, parse_fault
from harness.errors import UsageError

PATH = "/v1/models/m:predict"


async def _model(_scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


async def ask(hook: FaultHook, request_id: str, path: str = PATH) -> int:
    """The status of one request."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await hook({"type": "http", "path": path, "headers": [(b"x-request-id", request_id.encode())]}, receive, send)
    return int(sent[0]["status"])


def statuses(hook: FaultHook, count: int, path: str = PATH) -> list[int]:
    async def all_of_them() -> list[int]:
        return [await ask(hook, f"id-{number}", path) for number in range(count)]

    return asyncio.run(all_of_them())


def test_a_fault_begins_and_ends_with_its_file(tmp_path: Path) -> None:
    """And another file is another fault."""
    file = tmp_path / "fault.json"
    hook = FaultHook(_model, str(file))
    assert statuses(hook, 3) == [200] * 3
    file.write_text(json.dumps({"errors": 1.0}))
    assert statuses(hook, 3) == [500] * 3
    changed = tmp_path / "changed"
    changed.write_text(json.dumps({"errors": 1.0, "status": 503}))
    changed.replace(file)
    assert statuses(hook, 3) == [503] * 3
    file.unlink()
    assert statuses(hook, 3) == [200] * 3


def test_a_share_of_errors_falls_on_the_same_requests_again(tmp_path: Path) -> None:
    """About 30 % of 2,000, whichever replica is asked, and others with another seed."""
    file = tmp_path / "fault.json"
    file.write_text(json.dumps({"errors": 0.3}))
    first = statuses(FaultHook(_model, str(file)), 2000)
    assert 477 <= first.count(500) <= 723
    assert statuses(FaultHook(_model, str(file)), 2000) == first
    file.write_text(json.dumps({"errors": 0.3, "seed": 1}))
    assert statuses(FaultHook(_model, str(file)), 2000) != first


def test_probes_and_metrics_are_spared_errors(tmp_path: Path) -> None:
    """A model that errs is still alive."""
    file = tmp_path / "fault.json"
    file.write_text(json.dumps({"errors": 1.0}))
    assert statuses(FaultHook(_model, str(file)), 1, "/v2/health/live") == [200]


def test_a_server_that_hangs_answers_when_the_fault_has_ended(tmp_path: Path) -> None:
    """Probes hang too; the request that waited is then answered."""
    file = tmp_path / "fault.json"
    file.write_text(json.dumps({"hang": True}))
    hook = FaultHook(_model, str(file))

    async def asked() -> list[int]:
        waiting = [asyncio.create_task(ask(hook, "a")), asyncio.create_task(ask(hook, "b", "/v2/health/live"))]
        done, _ = await asyncio.wait(waiting, timeout=0.2)
        assert not done
        file.unlink()
        return list(await asyncio.gather(*waiting))

    assert asyncio.run(asked()) == [200, 200]


def test_a_file_that_is_no_fault_is_told_in_the_log_and_does_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A typing error in a rehearsal is no error of the model."""
    file = tmp_path / "fault.json"
    file.write_text('{"errors": 2}')
    assert statuses(FaultHook(_model, str(file)), 2) == [200, 200]
    assert capsys.readouterr().err.count("expected a share from 0 to 1, got 2") == 1


@pytest.mark.parametrize(
    ("delay", "mean"),
    [
        ({"distribution": "constant", "ms": 250}, 0.25),
        ({"distribution": "exponential", "mean_ms": 250}, 0.25),
        ({"distribution": "lognormal", "median_ms": 200, "sigma": 0.5}, 0.2 * 2.718281828 ** (0.5**2 / 2)),
    ],
)
def test_delays_have_the_distribution_that_was_asked_for(delay: dict[str, Any], mean: float) -> None:
    """The mean of 20,000 draws is within 5 %: more than six standard errors."""
    draw = random.Random(7)
    fault = parse_fault({"delay_ms": delay})
    assert statistics.fmean(fault.delay_s(draw) for _ in range(20_000)) == pytest.approx(mean, rel=0.05)


@pytest.mark.parametrize(
    ("told", "line"),
    [
        ({"error": 0.1}, "there is no 'error'; there are: errors, status, delay_ms, hang, seed"),
        ({"errors": "all"}, "errors: expected a share from 0 to 1, got 'all'"),
        ({"status": 200}, "status: expected 400 to 599, got 200"),
        ({"delay_ms": {"distribution": "normal"}}, "expected one of constant, exponential, lognormal, got 'normal'"),
        ({"delay_ms": {"distribution": "lognormal", "ms": 3}}, "lognormal takes median_ms and sigma, each above 0"),
    ],
)
def test_what_is_no_fault_is_refused_in_one_line(told: dict[str, Any], line: str) -> None:
    """With what it can be."""
    with pytest.raises(UsageError) as caught:
        parse_fault(told)
    assert line in caught.value.message
    assert parse_fault({}) == ServerFault()
