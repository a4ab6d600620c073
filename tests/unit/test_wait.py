"""Waiting ends at success, at a reason to give up, at the child's end or at the deadline, and says which."""

from __future__ import annotations

from dataclasses import dataclass

import httpx
import pytest

from harness.errors import PlatformError, ProcessExited, WaitTimeout
from harness.runtime.clock import Deadline, VirtualClock
from harness.runtime.wait import wait


@dataclass
class EndedChild:
    """A child that has already ended."""

    name: str = "envoy"

    def poll(self) -> int | None:
        return 7

    def tail(self, lines: int = 20) -> str:
        return "cannot bind: address in use"


def deadline(seconds: float = 10) -> Deadline:
    return Deadline.after(seconds, VirtualClock())


def test_the_first_truthy_answer_is_returned() -> None:
    answers = iter([None, "", "ready"])
    assert wait(lambda: next(answers), what="service", deadline=deadline()) == "ready"


def test_a_refused_connection_means_not_yet() -> None:
    calls = []

    def success() -> bool:
        calls.append(1)
        if len(calls) < 3:
            raise httpx.ConnectError("refused")
        return True

    assert wait(success, what="service", deadline=deadline())
    assert len(calls) == 3


def test_a_passed_deadline_names_what_was_waited_for_and_the_last_state() -> None:
    with pytest.raises(WaitTimeout, match="gateway: not within the deadline; last seen: warming up"):
        wait(lambda: None, what="gateway", deadline=deadline(0.05), state=lambda: "warming up")


def test_an_ended_child_ends_the_wait_with_its_code_and_its_log() -> None:
    with pytest.raises(ProcessExited, match=r"(?s)gateway: envoy ended with exit code 7.*address in use"):
        wait(lambda: None, what="gateway", deadline=deadline(), child=EndedChild())


def test_a_reason_to_give_up_ends_the_wait_at_once() -> None:
    with pytest.raises(PlatformError, match="service: model is corrupt"):
        wait(lambda: None, what="service", deadline=deadline(), fail=lambda: "model is corrupt")


def test_a_shared_deadline_leaves_the_second_wait_only_what_is_left() -> None:
    clock = VirtualClock()
    shared = Deadline.after(1.0, clock)
    clock.sleep(0.75)
    assert shared.remaining_s() == pytest.approx(0.25)
    assert shared.at_most(10).remaining_s() == pytest.approx(0.25)
    assert shared.at_most(0.1).remaining_s() == pytest.approx(0.1)
