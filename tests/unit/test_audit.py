"""The generator's audit of itself: when its figures are doubted while it runs, and when at the end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.load.audit import AT_ONCE_S, EVERY_S, VERY_LATE_US, WINDOWS, Reading, SelfAudit, distrust, read, withheld

ON_TIME = Reading(at=100.0, late_p99_ms=1.0, cpu=0.3)


@dataclass
class Clocks:
    """Wall and CPU time by hand."""

    now: float = 0.0
    cpu: float = 0.0

    def pass_s(self, seconds: float, busy: float = 0.0) -> None:
        self.now += seconds
        self.cpu += seconds * busy


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def audit(tmp_path: Path, clocks: Clocks) -> SelfAudit:
    return SelfAudit(tmp_path / "audit.json", lambda: clocks.now, lambda: clocks.cpu)


def reading(tmp_path: Path) -> Reading:
    (found,) = read([tmp_path / "audit.json"])
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("readings", "words"),
    [
        ([ON_TIME], ""),
        ([ON_TIME, ON_TIME], ""),
        ([None], "the load generator has not audited itself yet"),
        ([Reading(96.0, 1.0, 0.3)], "the load generator has not audited itself for 4.0 s"),
        (
            [Reading(100.0, 10.1, 0.3)],
            "the load generator sends late: schedule delay p99 10.1 ms is over 10% of the bound of 100 ms",
        ),
        ([Reading(100.0, 10.0, 0.3)], ""),
        ([ON_TIME, Reading(100.0, 1.0, 0.97)], "the load generator (process 2 of 2) saturates a core: 97% busy"),
    ],
)
def test_a_verdict_on_latency_is_withheld_with_a_reason(readings: list[Reading | None], words: str) -> None:
    """Late by over a tenth of the bound, a whole core busy, or nothing heard for seconds."""
    assert withheld(readings, 100, now=100.0) == words


@pytest.mark.parametrize(
    ("late_ms", "latency_ms", "cpu", "words"),
    [
        (1.0, 10.0, 0.95, ""),
        (1.1, 10.0, 0.5, "sent late: schedule delay p99 1.1 ms is over 10% of a latency p99 of 10 ms"),
        (0.1, 10.0, 0.96, "saturated a core: 96% busy"),
        (5.0, 0.0, 0.5, ""),
    ],
)
def test_the_latencies_of_a_load_are_distrusted_with_a_reason(
    late_ms: float, latency_ms: float, cpu: float, words: str
) -> None:
    """At the tenth itself they are trusted; a load without an answer has no latency to doubt."""
    assert distrust(late_ms, latency_ms, cpu).removeprefix("the load generator ") == words


def test_both_reasons_are_given() -> None:
    """One may be the cause of the other."""
    assert distrust(5, 10, 1.0).count(";") == 1


def test_an_audit_is_there_from_the_first_moment(tmp_path: Path, audit: SelfAudit) -> None:
    """A rollout that looks before half a second has passed finds nothing to doubt."""
    assert reading(tmp_path) == Reading(0.0, 0.0, 0.0)


def test_the_audit_tells_the_delay_and_the_cpu_of_the_last_seconds(
    tmp_path: Path, clocks: Clocks, audit: SelfAudit
) -> None:
    """Two of a hundred requests left 8 ms late while the process used 60 % of a core; 5 s later that is forgotten."""
    for number in range(100):
        audit.delayed(8000 if number < 2 else 50)
    clocks.pass_s(EVERY_S, busy=0.6)
    audit.look()
    assert reading(tmp_path).late_p99_ms == pytest.approx(8.0, rel=0.07)
    assert reading(tmp_path).cpu == pytest.approx(0.6)
    for _ in range(WINDOWS):
        audit.delayed(50)
        clocks.pass_s(EVERY_S, busy=0.1)
        audit.look()
    assert reading(tmp_path).late_p99_ms == pytest.approx(0.05, rel=0.07)
    assert reading(tmp_path).cpu == pytest.approx(0.1)


def test_the_audit_is_written_twice_a_second_and_no_oftener(tmp_path: Path, clocks: Clocks, audit: SelfAudit) -> None:
    """`look` is called for every request."""
    clocks.pass_s(EVERY_S * 0.9)
    audit.look()
    assert reading(tmp_path).at == 0.0
    clocks.pass_s(EVERY_S * 0.2)
    audit.look()
    assert reading(tmp_path).at == pytest.approx(EVERY_S * 1.1)


def test_a_burst_after_a_standstill_is_told_at_once(tmp_path: Path, clocks: Clocks, audit: SelfAudit) -> None:
    """A verdict that sees the burst's slow answers finds why in the audit; 50 ms later that is no news."""
    clocks.pass_s(EVERY_S)
    audit.look()
    for number in range(100):
        audit.delayed(200_000 if number < 80 else 50)
    clocks.pass_s(AT_ONCE_S)
    assert not audit.look()
    told = reading(tmp_path)
    assert told.at == EVERY_S + AT_ONCE_S
    assert told.late_p99_ms == pytest.approx(200, rel=0.07)
    clocks.pass_s(AT_ONCE_S)
    audit.delayed(VERY_LATE_US)
    audit.look()
    assert reading(tmp_path) == told


def test_the_busiest_seconds_of_a_load_are_kept(clocks: Clocks, audit: SelfAudit) -> None:
    """A core saturated for five seconds of a minute spoilt the latencies of those five."""
    for busy in [0.2] * 50 + [1.0] * WINDOWS + [0.2] * 50:
        clocks.pass_s(EVERY_S, busy)
        audit.look()
    assert audit.close() == pytest.approx(1.0)


def test_a_short_load_is_judged_as_a_whole(clocks: Clocks, audit: SelfAudit) -> None:
    """Its first half second is no seconds of saturation."""
    clocks.pass_s(EVERY_S, busy=1.0)
    audit.look()
    clocks.pass_s(3 * EVERY_S, busy=0.2)
    assert audit.close() == pytest.approx(0.4)


def test_the_cpu_of_each_second_is_known_at_the_end(audit: SelfAudit, clocks: Clocks) -> None:
    """A second at 20 %, one at 80 %, and half a one; looks come twice a second."""
    for busy in (0.2, 0.2, 0.8, 0.8, 0.5):
        clocks.pass_s(EVERY_S, busy)
        audit.look()
    assert audit.cpu_by_second(0.0) == pytest.approx([0.2, 0.8, 0.5])
