"""The load generator beside plain Locust, what its ledger costs, and accounting for a million requests."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from benchmarks._loopback import PATH, Server, server
from harness.load import LoadSpec
from harness.load.generator import LOCUSTFILE
from harness.load.records import LoadFiles, read_json, write_json
from harness.load.shapes import Steady
from harness.runtime.clock import Deadline
from harness.runtime.process import Child
from harness.runtime.wait import wait

HERE = Path(__file__).parent
ROUNDS = 7
RUN_S = 6
USERS = 64
SATURATING_RPS = 20_000
STEADY_RPS = 2000
JOINED = (100_000, 1_000_000)
Sample = tuple[str, str, str, list[float]]


def measure(folder: Path) -> Iterator[Sample]:
    """Rounds of plain Locust, of the generator, and of one that keeps records by turns; then memory and join."""
    with server(folder / "server") as here:
        rounds = [_round(here, folder / str(number)) for number in range(ROUNDS)]
        plain, mine, costs = (list(samples) for samples in zip(*rounds, strict=True))
        yield "plain Locust, FastHttpUser: requests a second and core", "/s", "", plain
        yield "load generator: requests a second and core", "/s", "", mine
        yield "ledger: share of the generator's throughput", "", "<= 0.05", costs
        early, late = _memory(here, folder / "memory")
        yield f"generator: memory after {5 * STEADY_RPS:,} requests", "MB", "", [early]
        yield f"generator: growth up to {30 * STEADY_RPS:,} requests", "MB", "<= 2", [late - early]
    few, many = (_accounted(folder / f"join-{requests}", requests) for requests in JOINED)
    yield f"ledger: join of {JOINED[1]:,} requests", "s", "<= 10", [many["join_s"]]
    total = [many["join_s"] + many["report_s"]]
    yield f"record, summary and pages of {JOINED[1]:,} requests", "s", "<= 10", total
    yield "the same: CPU time", "s", "", [many["cpu_s"]]
    yield f"all of it, peak memory, {JOINED[1]:,} requests", "MB", "<= 500", [many["peak_mb"]]
    yield f"run.json, largest page of {JOINED[1]:,} requests", "MB", "<= 1, 2", [many["run_mb"], many["page_mb"]]
    yield f"ledger: peak memory, {JOINED[0]:,} requests", "MB", "", [few["peak_mb"] - few["idle_mb"]]
    yield f"ledger: peak memory, {JOINED[1]:,} requests", "MB", "the same", [many["peak_mb"] - many["idle_mb"]]


def _round(here: Server, folder: Path) -> tuple[float, float, float]:
    return _plain(here, folder / "plain"), _generator(here, folder / "generator"), _cost(here, folder / "alternating")


def _plain(here: Server, folder: Path) -> float:
    folder.mkdir(parents=True)
    result = folder / "result.json"
    child = _locust(here, HERE / "_plain_locust.py", USERS, RUN_S, {"BENCH_RESULT": str(result)})
    wait(lambda: child.poll() is not None, what="plain Locust", deadline=Deadline.after(RUN_S + 60))
    return _a_core(read_json(result))


def _generator(here: Server, folder: Path) -> float:
    files, child = _load(here, folder, LOCUSTFILE, SATURATING_RPS, RUN_S)
    wait(lambda: child.poll() is not None, what="the generator", deadline=Deadline.after(RUN_S + 60))
    return _a_core(read_json(files.finished(0)))


def _cost(here: Server, folder: Path) -> float:
    """The share of the generator's CPU time that goes into records."""
    result = folder / "result.json"
    _, child = _load(here, folder, HERE / "_alternating.py", STEADY_RPS, RUN_S, BENCH_RESULT=str(result))
    wait(lambda: child.poll() is not None, what="the generator", deadline=Deadline.after(RUN_S + 60))
    told = read_json(result)
    return 1 - float(told["left_out"]) / float(told["kept"])


def _a_core(told: dict[str, float]) -> float:
    """Requests a second over the share of a core that they took: what one core would do."""
    return told["left"] / told["duration_s"] / told["cpu"]


def _memory(here: Server, folder: Path) -> tuple[float, float]:
    """The generator's own memory (unique set size) at two times of one load, in MB."""
    files, child = _load(here, folder, LOCUSTFILE, STEADY_RPS, 60)
    process = psutil.Process(child.pid)
    found = []
    for seconds in (5, 30):
        wanted = seconds * STEADY_RPS * 32
        wait(
            lambda: files.records(0).exists() and files.records(0).stat().st_size >= wanted,  # noqa: B023
            what=f"{seconds} s of load",
            deadline=Deadline.after(90),
            every_s=0.05,
        )
        found.append(process.memory_full_info().uss / 2**20)
    here.supervisor.stop(child, 15)
    return found[0], found[1]


def _load(
    here: Server, folder: Path, locustfile: Path, rps: float, seconds: int, **env: str
) -> tuple[LoadFiles, Child]:
    folder.mkdir(parents=True)
    payload = folder / "payload.jsonl"
    payload.write_text('{"instances": [[0, 1, 0, 0, 11.0, 1.0, 0, 0, 0]]}\n', encoding="utf-8")
    files = LoadFiles(folder)
    spec = LoadSpec("bench", here.url, "m.example.com", PATH, payload, Steady(rps), connections=USERS)
    write_json(files.spec, spec.traffic("bench"))
    return files, _locust(here, locustfile, 1, seconds, {"REHEARSAL_LOAD": f"{files.spec}:0", **env})


def _locust(here: Server, locustfile: Path, users: int, seconds: int, env: dict[str, str]) -> Child:
    argv = [sys.executable, "-m", "locust", "-f", str(locustfile), "--headless", "--only-summary", "--host", here.url]
    argv += ["--users", str(users), "--spawn-rate", str(users), "--run-time", f"{seconds}s", "--stop-timeout", "7"]
    return here.supervisor.spawn(locustfile.stem, argv, env=env, task=True)


def _accounted(folder: Path, requests: int) -> dict[str, float]:
    argv = [sys.executable, "-m", "benchmarks._accounting", str(folder), str(requests)]
    told = subprocess.run(argv, check=True, stdout=subprocess.PIPE, timeout=300).stdout
    return dict(json.loads(told))
