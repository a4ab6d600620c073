"""What the ledger says when something breaks: the gateway, the generator, the disk, or the log itself."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.errors import LoadFailed, PlatformError
from harness.lifecycle.slo import SLO
from harness.load.shapes import Steady
from harness.runtime.clock import Deadline
from harness.runtime.ports import reserve
from harness.runtime.wait import wait
from tests.embedded.load_gateway import Gateway, processes, run_for, running, wait_for


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    with running(tmp_path) as gateway:
        yield gateway


def test_a_line_missing_from_the_access_log_is_unexplained(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody removed three lines of the gateway's log, and added one for a request that nobody sent."""
    monkeypatch.setattr("harness.load.generator.LOG_LAG_S", 0.5)
    load = gateway.load(Steady(100))
    tampered = gateway.folder / "tampered.jsonl"
    load._access_log = tampered
    load.start(Deadline.after(30))
    processes(load).spawner = Tamper(gateway, tampered, load.load_id)
    ledger = run_for(load, 1.0)
    assert ledger.unexplained == 4
    assert "the gateway has no record of it" in ledger.examples[0]
    assert "the client does not know it" in ledger.examples[-1]
    with pytest.raises(LoadFailed, match="4 of"):
        ledger.check()


def test_a_process_of_several_that_dies_is_named(gateway: Gateway) -> None:
    """Half of a load is no load."""
    load = gateway.load(Steady(50), processes=2)
    load.start(Deadline.after(30))
    processes(load).children[1].kill()
    processes(load).children[1].wait(5)
    with pytest.raises(LoadFailed, match="killed by signal 9"):
        load.stop(Deadline.after(10))


def test_a_gateway_that_is_killed_explains_what_it_took_with_it(gateway: Gateway) -> None:
    """Requests under way and lines not yet written: no more, no less; the next gateway goes on in the same log."""
    load = gateway.load(Steady(300))
    load._deaths = gateway.deaths
    load.start(Deadline.after(30))
    wait_for(load, 1.0)
    gateway.kill()
    gateway.start()
    wait_for(load, 3.0)
    ledger = load.stop(Deadline.after(15))
    assert (ledger.unexplained, ledger.examples) == (0, ())
    assert sum(ledger.classes.values()) == ledger.sent
    assert ledger.classes["never sent:no connection"] > 0
    assert 0 < ledger.unlogged < 150
    assert {name.partition(":")[0] for name in ledger.classes} <= {"answered", "lost", "never sent", "gave up"}


def test_a_death_that_nobody_tells_of_leaves_requests_unexplained(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same, but the load is not told that the gateway died."""
    monkeypatch.setattr("harness.load.generator.LOG_LAG_S", 0.5)
    load = gateway.load(Steady(300))
    load.start(Deadline.after(30))
    wait_for(load, 1.0)
    gateway.kill()
    gateway.start()
    wait_for(load, 2.0)
    ledger = load.stop(Deadline.after(15))
    assert ledger.unexplained > 0
    assert all("the gateway has no record of it" in example for example in ledger.examples)


def test_a_generator_that_was_held_up_is_found_out_at_once_and_at_the_end(gateway: Gateway) -> None:
    """Stopped for a second: while it is, its audit grows old; then its requests are late; latency is not judged."""
    load = gateway.load(Steady(100), slo=SLO(slow=0.05, slower_than_ms=100))
    load.start(Deadline.after(30))
    wait_for(load, 1.0)
    assert load.withheld(10_000) == ""
    processes(load).children[0].kill(signal.SIGSTOP)
    wait(lambda: "has not audited itself for" in load.withheld(10_000), what="old audit", deadline=Deadline.after(10))
    processes(load).children[0].kill(signal.SIGCONT)
    late = "sends late: schedule delay p99"
    wait(lambda: late in load.withheld(100), what="late audit", deadline=Deadline.after(10))
    ledger = load.stop(Deadline.after(15))
    assert "the load generator sent late" in ledger.distrust
    assert ledger.latency_verdict is None


def test_a_generator_that_dies_is_an_error_with_its_log(gateway: Gateway) -> None:
    """Killed by -9: no ledger is better than a wrong one."""
    load = gateway.load(Steady(50))
    load.start(Deadline.after(30))
    processes(load).children[0].kill()
    processes(load).children[0].wait(5)
    with pytest.raises(LoadFailed, match="killed by signal 9"):
        load.stop(Deadline.after(10))


def test_a_full_disk_ends_the_load_and_is_named(gateway: Gateway) -> None:
    """The records cannot be written: the schedule is not run again over them, and no ledger is made of the rest."""
    load = gateway.load(Steady(50))
    load.files.folder.mkdir(parents=True)
    load.files.records(0).symlink_to("/dev/full")
    load.start(Deadline.after(30))
    wait(load.files.failed(0).exists, what="the end of the schedule", deadline=Deadline.after(10))
    with pytest.raises(LoadFailed, match=r"exit code 1; .* OSError: .*No space left on device"):
        load.stop(Deadline.after(10))
    assert not load.files.finished(0).exists()


def test_a_disk_that_has_no_room_for_the_ledger_is_named(gateway: Gateway) -> None:
    """The records are there, their table cannot be written; a half one is not left under its name."""
    load = gateway.load(Steady(50))
    load.files.folder.mkdir(parents=True)
    (load.files.folder / "ledger.part").symlink_to("/dev/full")
    load.start(Deadline.after(30))
    with pytest.raises(LoadFailed, match=r"load test: its ledger cannot be written: .*No space left on device"):
        load.stop(Deadline.after(10))
    assert not (load.files.folder / "ledger.parquet").exists()


def test_a_gateway_that_is_not_there_is_said_at_the_deadline(gateway: Gateway) -> None:
    """Nobody listens at the URL: requests are never sent, so the load does not count as started."""
    load = gateway.load(Steady(20), url=f"http://127.0.0.1:{reserve()}")
    with pytest.raises(PlatformError, match="first answer"):
        load.start(Deadline.after(4))


class Tamper:
    """Stops the load, then copies the gateway's log without its first three requests and with one that never was."""

    def __init__(self, gateway: Gateway, to: Path, load_id: str) -> None:
        self.gateway, self.to, self.load_id = gateway, to, load_id

    def spawn(self, name: str, argv: Any, *, env: Any = None) -> Any:
        raise AssertionError("the load is already running")

    def stop(self, child: Any, grace_s: float = 5.0) -> int | None:
        code = self.gateway.supervisor.stop(child, grace_s)
        self.gateway.supervisor.close()  # Envoy writes out its log when it ends
        lines = self.gateway.access_log.read_text().splitlines()
        removed = [f'"{self.load_id}-{number}"' for number in (3, 5, 7)]
        kept = [line for line in lines if not any(each in line for each in removed)]
        invented = json.dumps({**json.loads(lines[-1]), "id": f"{self.load_id}-999999"})
        self.to.write_text("\n".join([*kept, invented]) + "\n")
        return code
