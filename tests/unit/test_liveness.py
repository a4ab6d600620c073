"""Telling a process that hangs from one that works: real processes, and an address that never answers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from psutil import STATUS_STOPPED, Process

from harness.backends.embedded import liveness
from harness.backends.embedded.liveness import FAILURES, Watch, waited_s
from harness.runtime.clock import Deadline
from harness.runtime.wait import wait


@pytest.fixture
def silent() -> Iterator[tuple[str, int]]:
    """Takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()


def probes(code: str, address: tuple[str, int], count: int) -> list[bool]:
    """What so many probes in a row say of a process that runs `code`."""
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        try:
            with Watch(process.pid, address) as watch:
                return [watch.hangs() for _ in range(count)]
        finally:
            process.kill()


def test_a_process_that_answers_nothing_and_does_nothing_hangs(
    silent: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After so many probes in a row, and since the first of them."""
    monkeypatch.setattr(liveness, "TIMEOUT_S", 0.5)
    began = time.time()
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        with Watch(process.pid, silent) as watch:
            watch.hangs()  # its interpreter may still be starting
            found = [watch.hangs() for _ in range(FAILURES)]
        process.kill()
    assert found[-1]
    assert began <= watch.silent_since <= began + 1.5


def test_work_that_was_done_while_it_answered_is_none_of_the_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica that worked for minutes and then stands still is silent from the first probe on."""
    used, answered = iter((0.0, 60.0, 60.0)), iter((True, False))
    monkeypatch.setattr(Watch, "_processor_s", lambda watch: next(used))
    monkeypatch.setattr(Watch, "_answers", lambda watch: next(answered))
    with Watch(0, ("127.0.0.1", 1)) as watch:
        assert [watch.hangs(), watch.hangs()] == [False, False]
        assert watch.silent_since > 0


def test_a_process_that_works_does_not_hang(silent: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its event loop is blocked by a long prediction; killing it would only begin that anew."""
    monkeypatch.setattr(liveness, "TIMEOUT_S", 0.5)
    assert probes("while True: pass", silent, FAILURES + 1) == [False] * (FAILURES + 1)


def test_a_process_that_waits_for_a_processor_is_no_silent_one() -> None:
    """More programs than processors want to run: each has waited. One that is stopped waits for nothing."""
    spin = [sys.executable, "-S", "-c", "while True: pass"]
    crowd = [subprocess.Popen(spin) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        deadline = Deadline.after(30)
        wait(lambda: all(waited_s(each.pid) > 0.1 for each in crowd), what="a crowd", deadline=deadline, every_s=0.05)
        os.kill(crowd[0].pid, signal.SIGSTOP)
        wait(lambda: Process(crowd[0].pid).status() == STATUS_STOPPED, what="a stop", deadline=deadline)
        before, others = waited_s(crowd[0].pid), waited_s(crowd[1].pid)
        wait(lambda: waited_s(crowd[1].pid) > others + 0.1, what="the others' waits", deadline=deadline, every_s=0.05)
        assert waited_s(crowd[0].pid) == before
    finally:
        for each in crowd:
            each.kill()
            each.wait()
    assert waited_s(crowd[0].pid) == 0.0
