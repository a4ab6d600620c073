"""Plain Locust: FastHttpUser in a closed loop, nothing recorded; writes what it did to BENCH_RESULT."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from locust import FastHttpUser, constant, events, task

from benchmarks._loopback import PATH
from harness.load.records import write_json

BODY = b'{"instances": [[0, 1, 0, 0, 11.0, 1.0, 0, 0, 0]]}'
_began = (0.0, 0.0)


class Plain(FastHttpUser):  # type: ignore[misc]
    """One of the users of a closed loop."""

    wait_time = constant(0)

    @task  # type: ignore[untyped-decorator]
    def predict(self) -> None:
        self.client.post(PATH, data=BODY, headers={"Content-Type": "application/json"})


@events.spawning_complete.add_listener  # type: ignore[untyped-decorator]
def begin(**_: Any) -> None:
    global _began
    _began = (time.monotonic(), time.process_time())


@events.test_stop.add_listener  # type: ignore[untyped-decorator]
def end(environment: Any, **_: Any) -> None:
    duration_s = time.monotonic() - _began[0]
    cpu = (time.process_time() - _began[1]) / duration_s
    told = {"left": environment.stats.total.num_requests, "duration_s": duration_s, "cpu": cpu}
    write_json(Path(os.environ["BENCH_RESULT"]), told)
