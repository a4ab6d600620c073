"""`rehearse load` in a process of its own, against a real server whose capacity is known."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.runtime.ports import reserve

Rehearse = Callable[..., subprocess.CompletedProcess[str]]
TAKES_S = 0.01  # of the server that answers one request at a time: 100 a second and no more


@pytest.fixture
def rehearse(tmp_path: Path) -> Rehearse:
    """The command line in a process of its own, with folders of this test alone."""
    environment = {
        **os.environ,
        "REHEARSAL_STATE": str(tmp_path / "state"),
        "REHEARSAL_RUNS": str(tmp_path / "reports"),
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "harness.cli", "load", *arguments]
        return subprocess.run(
            argv, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
        )

    return run


@contextmanager
def one_at_a_time() -> Iterator[str]:
    """A server that takes TAKES_S for each request, one after the other; by timers, so that it needs hardly any CPU."""
    ready = threading.Event()
    told: list[Any] = []
    thread = threading.Thread(target=lambda: asyncio.run(_serve(told, ready)), daemon=True)
    thread.start()
    assert ready.wait(10)
    port, loop, ended = told
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)


async def _serve(told: list[Any], ready: threading.Event) -> None:
    free, ended = [0.0], asyncio.Event()
    loop = asyncio.get_running_loop()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError, EOFError):
            while head := await _head(reader):
                await reader.readexactly(int(head.get("content-length", 0)))
                free[0] = max(loop.time(), free[0]) + TAKES_S
                await asyncio.sleep(free[0] - loop.time())
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        told += [server.sockets[0].getsockname()[1], loop, ended]
        ready.set()
        await ended.wait()


async def _head(reader: asyncio.StreamReader) -> dict[str, str]:
    lines = []
    while line := (await reader.readline()).decode().strip():
        lines.append(line)
    return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def document(done: subprocess.CompletedProcess[str], code: int = 0) -> Any:
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def test_a_shape_is_offered_to_a_server_that_others_run(rehearse: Rehearse, tmp_path: Path) -> None:
    """20 then 60 a second: the verdict, the record with its timeline, the page, and the command that does it again."""
    flags = ["--shape", "step:rates_rps=20/60,each_s=1", "--slo", "slower_than_ms=2000,slow=0.5"]
    with one_at_a_time() as url:
        record = document(rehearse("--host", url, "--service-host", "m.example.com", *flags, "--json"))
    (load,) = record["loads"]
    assert (record["status"], record["backend"]) == ("passed", "elsewhere")
    assert (load["sent"], load["unexplained"], load["joined"]) == (80, 0, False)
    assert load["classes"] == {"answered:target": 80}
    assert load["timeline"]["offered"][:2] == [20, 60]
    assert load["shape"]["parameters"] == {"rates_rps": [20, 60], "each_s": 1}
    promise = "--slo errors=0.02,slower_than_ms=2000.0,slow=0.5"
    assert load["reproduce"].startswith("rehearse load --shape step:rates_rps=20/60,each_s=1 --arrivals ")
    assert load["reproduce"].endswith(f" {promise} --host {url} --service-host m.example.com --model model")
    (folder,) = (tmp_path / "reports").iterdir()
    assert (folder / "index.html").is_file()
    report = (folder / "load.html").read_text(encoding="utf-8")
    verdict = json.loads((folder / "load.json").read_text())["loads"][0]["verdict"]
    assert report.index(f"{verdict}</span>") < report.index("Requests per second")


def test_a_broken_slo_is_told_and_fails(rehearse: Rehearse) -> None:
    """The server answers 100 a second, 150 come: requests queue, and the client sees it."""
    with one_at_a_time() as url:
        done = rehearse("--host", url, "--rps", "150", "--for", "4", "--slo", "slower_than_ms=100,slow=0.05")
    assert done.returncode == 1
    assert "the SLO is broken: errors 0.00% of at most 2.00%, slow" in done.stdout


@pytest.mark.alone
def test_the_capacity_of_a_real_server_is_found(rehearse: Rehearse) -> None:
    """Even arrivals at a server that answers 100 a second: what is reported is below that, and not by much."""
    with one_at_a_time() as url:
        done = rehearse(
            "--host", url, "--find-capacity", "--low", "20", "--high", "400", "--slo", "slower_than_ms=500,slow=0.05",
            "--precision", "0.2", "--confidence", "0.9", "--budget", "120", "--json",
        )  # fmt: skip
        record = document(done)
    (found,) = record["capacity"]
    assert 50 <= found["capacity_rps"] <= 101, [
        (step["rate"], step["decision"], step["reason"]) for step in found["steps"]
    ]
    assert found["broken_rps"] > found["capacity_rps"]
    assert found["duration_s"] < 120 + 30
    confirmed = found["steps"][-1]
    assert (confirmed["purpose"], confirmed["decision"]) == ("confirm", "kept")
    assert [load["name"] for load in record["loads"]] == [step["load"] for step in found["steps"] if step["load"]]


def test_a_host_that_refuses_connections_is_told_within_two_seconds() -> None:
    """From the command's first line to its last, the imports apart: nothing was started for it."""
    from harness.errors import UsageError
    from harness.load.reach import require_reachable

    url, began = f"http://127.0.0.1:{reserve()}", time.monotonic()
    with pytest.raises(UsageError, match="Connection refused"):
        require_reachable(url)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--rps", "-5"], "load.shape: steady.rps: expected a number from 0.1 to 20000, got -5"),
        (["--shape", "ramp:from_rps=-1"], "load.shape: ramp.from_rps: expected a number from 0 to 20000, got -1"),
        (["--shape", "wave"], "load.shape: expected steady, step, ramp, spike, soak, diurnal, replay, or a .toml file"),
        (["--shape", "ramp", "--deadline", "10"], "load.shape: ramp lasts 30 s, but the load may last 10 s"),
        (["--shape", "ramp", "--for", "10"], "--for is for one rate; a ramp says itself how long it lasts"),
        (["--rps", "5", "--shape", "ramp"], "load: expected one of rps, shape and trace, got rps and shape"),
        (["--rps", "5", "--trace", "bad.csv", "--speed", "2"], "load: expected one of rps, shape and trace, got rps"),
        (["--trace", "good.csv", "--speed", "2", "--for", "9"], "--for is for one rate; a replay says itself"),
        (["--shape", "ramp", "--speed", "2"], "load: --speed is for --trace"),
        (["--trace", "bad.csv"], "bad.csv:3: timestamp: expected seconds or an ISO 8601 time, got 'noon'"),
        (["--host", "http://198.51.100.7"], "load: http://198.51.100.7 is neither this machine nor a gateway"),
        (["--host", "http://127.0.0.1:1"], "load: http://127.0.0.1:1: Connection refused"),
        (["--host", "http://127.0.0.1:99999"], "load: 'http://127.0.0.1:99999' is no target: Port out of range"),
        (["--host", "x"], "load: x is neither this machine"),
        (["--run", "latest"], "load: nothing runs."),
        (["--slo", "slow=2"], "slo.slow: expected a share above 0 and below 1"),
        (["--slo", "fast=2"], "--slo: expected errors=..., slower_than_ms=..., slow=..., got 'fast=2'"),
        (["--rps", "5", "--for", "0"], "load: --for: expected seconds above 0, got 0"),
        (["--find-capacity", "--rps", "5"], "load: --find-capacity chooses the rates itself"),
        (["--find-capacity", "--low", "-1"], "capacity.low_rps: expected a number from 1 to 20000, got -1.0"),
        (["--find-capacity", "--budget", "5"], "capacity.budget_s: expected a number from 30 to 86400, got 5.0"),
        (["--workers", "2", "--host", "http://127.0.0.1:1"], "load: --workers send one load, to a platform of its own"),
        (["--workers", "2"], "load: --workers are Pods, and the embedded world has none"),
        (["--protocol", "v3"], "load.protocol: expected v1 or v2, got 'v3'"),
        (["--payload", "gone.jsonl"], "load.payload: gone.jsonl: no such file"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags: list[str], words: str
) -> None:
    """Exit code 2, and no run folder."""
    from harness.cli import run_command

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REHEARSAL_RUNS", str(tmp_path / "reports"))
    monkeypatch.setenv("REHEARSAL_STATE", str(tmp_path / "state"))
    (tmp_path / "good.csv").write_text("timestamp\n1\n2\n")
    (tmp_path / "bad.csv").write_text("timestamp\n1\nnoon\n")
    assert run_command(["load", *flags]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert len(told.splitlines()) == 1
    assert not (tmp_path / "reports").exists()
