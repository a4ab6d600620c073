"""Locust's distributed mode for open-loop loads: one schedule a worker, all with one origin, given out by the master.

A worker says that it is ready; when all that the master expects have, it tells them when to begin, in Unix time: their
clocks may be those of several machines.
"""

from __future__ import annotations

import time
from typing import Any

import gevent
from locust.env import Environment
from locust.runners import LocalRunner, MasterRunner, WorkerRunner

from harness.load.records import LoadFiles, write_json

GO_IN_S = 0.5
READY, GO = "rehearsal-ready", "rehearsal-go"


def share_of(environment: Environment) -> tuple[int, int]:
    """Which of how many shares of the requests this process sends: (0, 1) unless it is a worker."""
    runner = environment.runner
    if not isinstance(runner, WorkerRunner):
        return 0, 1
    expected = int(environment.parsed_options.expect_workers)
    if not 0 <= runner.worker_index < expected:
        raise ValueError(f"worker {runner.worker_index} of {expected}: --expect-workers must be how many there are")
    return runner.worker_index, expected


def conduct(environment: Environment, **_: Any) -> None:
    """On a master: have one schedule a worker, and let all begin together; a listener of events.init."""
    runner = environment.runner
    if not isinstance(runner, MasterRunner):
        return
    expected = int(environment.parsed_options.expect_workers)
    for user in environment.user_classes:
        user.fixed_count = expected
    ready = set[str]()

    def on_ready(msg: Any, **_: Any) -> None:
        ready.add(msg.node_id)
        if len(ready) == expected:
            runner.send_message(GO, {"started_at": time.time() + GO_IN_S})

    runner.register_message(READY, on_ready)


def announce(environment: Environment, files: LoadFiles) -> None:
    """On a worker: say that this schedule is ready, and write its go.json when the master says when."""
    runner = environment.runner

    def on_go(msg: Any, **_: Any) -> None:
        started_at = float(msg.data["started_at"])
        write_json(files.go, {"origin": time.monotonic() + started_at - time.time(), "started_at": started_at})

    if isinstance(runner, WorkerRunner):
        runner.register_message(GO, on_go)
        runner.send_message(READY)


def quit_headless(environment: Environment) -> None:
    """End this Locust, a worker among that, unless it has a page that says what went wrong."""
    if environment.web_ui is None and environment.runner is not None:
        gevent.spawn_later(0, environment.runner.quit)


def quit_alone(environment: Environment) -> None:
    """End Locust with its schedule, unless it is one of several or has a page on which the next may be started."""
    if isinstance(environment.runner, LocalRunner):
        quit_headless(environment)
