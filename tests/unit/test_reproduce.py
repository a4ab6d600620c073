"""The command that the report has for a load: typed into a shell, it offers the same load to the same model."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness._load_command import Choice
from harness._reproduce import longest, of_settings, reproduce, to_host
from harness.cli import run_command
from harness.clients.inference import path_of
from harness.config import load_settings
from harness.lifecycle.slo import SLO
from harness.load import LoadSpec
from harness.load.shapes import Diurnal, Ramp, Shape, Soak, Spike, Steady, Step
from harness.load.trace import Replay
from harness.offering import Manner, Target

SHAPES = [
    Steady(33.3, 12.5),
    Step((50,), 2),
    Step((0.1, 1e6 / 70), 1 / 3),
    Ramp(1, 9, 5),
    Spike(),
    Soak(),
    Diurnal(),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that a shell would take apart, with request bodies, a trace and a configuration."""
    folder = tmp_path / "it's a $HOME; folder, of=mine"
    folder.mkdir()
    (folder / "bodies.jsonl").write_text("{}\n")
    (folder / "12.csv").write_text("timestamp\n1\n2\n")
    (folder / "rehearsal.toml").write_text('[run]\nbackend = "containers"\n')
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What `rehearse load` understands of a command: the choice, and the settings it would have."""

    def understood(command: str) -> tuple[Choice, Any]:
        taken: list[Any] = []

        def offer(*given: Any, as_json: bool) -> int:
            taken.append(given)
            return 0

        monkeypatch.setattr("harness._load_command.offer", offer)
        monkeypatch.setattr("harness._load_command.require_reachable", lambda _url: None)
        program, *words = shlex.split(command)
        assert (program, run_command(words)) == ("rehearse", 0)
        choice, config, world, _ = taken[0]
        return choice, load_settings(config, world)

    return understood


def again(choice: Choice, where: list[str], payload: Path, *, lasted_s: float = 0.0, slo: SLO | None = None) -> str:
    """The command of a load as it was chosen."""
    how = choice.manner
    spec = LoadSpec(
        "a", "http://127.0.0.1:1", "h", path_of(how.protocol, "m"), payload, choice.shape, max_s=choice.max_s,
        arrivals=how.arrivals, seed=how.seed, users=how.users, processes=how.processes, workers=how.workers,
    )  # fmt: skip
    ledger: Any = SimpleNamespace(duration_s=lasted_s)
    return reproduce(spec, ledger, slo or how.slo, where)


@pytest.mark.parametrize("shape", SHAPES, ids=[shape.kind for shape in SHAPES])
def test_every_shape_is_typed_as_it_was(folder: Path, typed: Any, shape: Shape) -> None:
    payload = folder / "bodies.jsonl"
    chosen = Choice(shape, Manner(payload=payload), longest(shape))
    assert typed(again(chosen, [], payload))[0] == chosen


def test_how_requests_are_made_is_typed_as_it_was(folder: Path, typed: Any) -> None:
    """Arrivals, seed, users, who sends, the protocol, the bodies, the SLO, the longest time; a trace by its path."""
    payload, slo = folder / "bodies.jsonl", SLO(errors=0.0125, slower_than_ms=50)
    chosen = Choice(Spike(), Manner(slo, "poisson", 11, 9, 2, "v2", payload), 77.5)
    assert typed(again(chosen, [], payload))[0] == chosen
    pods = Choice(Spike(), Manner(slo, payload=payload, workers=3), 77.5)
    assert typed(again(pods, [], payload))[0] == pods
    trace = Choice(Replay(str(folder / "12.csv"), 1 / 3), Manner(payload=payload), 8.0)
    relative = replace(trace, shape=Replay(str((folder / "12.csv").relative_to(Path.cwd())), 1 / 3))
    assert typed(again(relative, [], payload))[0] == trace


def test_a_load_that_ended_with_its_block_is_offered_for_as_long_as_it_lasted(folder: Path, typed: Any) -> None:
    payload = folder / "bodies.jsonl"
    chosen = Choice(Steady(200), Manner(payload=payload), 600.0)
    found, _ = typed(again(chosen, [], payload, lasted_s=12.34567))
    assert (found.shape, found.max_s) == (Steady(200, 12.346), longest(found.shape))


@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"--backend": "embedded"},
        {"--backend": "kind", "--reuse": True, "--keep": True},
        {
            "--backend": "kubernetes", "--context": "team a", "--kubeconfig": "my config", "--allow-remote": True,
            "--namespaces": {"production": "team-a", "staging": "team-b"}, "--image-prefix": "registry.example/ml",
            "--install": True,
        },
    ],
)  # fmt: skip
def test_a_platform_of_its_own_is_started_as_it_was(folder: Path, typed: Any, flags: dict[str, Any]) -> None:
    """By the same configuration, in the same world."""
    payload, settings = folder / "bodies.jsonl", load_settings(folder / "rehearsal.toml", flags)
    chosen = Choice(Spike(), Manner(payload=payload), longest(Spike()))
    found, told = typed(again(chosen, of_settings(settings), payload))
    assert found == chosen
    assert told == settings


def test_a_server_is_the_same_again(folder: Path, typed: Any) -> None:
    """With leave to go there if it is beyond this machine."""
    payload = folder / "bodies.jsonl"
    for target in (Target("http://127.0.0.1:9", "m.example.com", "m"), Target("http://ml.example", "", "m")):
        chosen = Choice(Spike(), Manner(payload=payload), longest(Spike()), target=target)
        assert typed(again(chosen, target.flags(), payload))[0] == chosen
    assert Target("http://127.0.0.1:9", run="platform-7").flags() == ["--run", "platform-7"]
    assert "--allow-remote" in to_host("http://ml.example", "", "m")


def test_a_model_that_flags_of_another_command_made_is_not_promised(folder: Path) -> None:
    """`rehearse load` has no --data and no --train: it would train another model."""
    (folder / "rows.csv").write_text("a,b\n1,2\n")
    data = {"--data": str(folder / "rows.csv")}
    assert of_settings(load_settings(folder / "rehearsal.toml", {**data, "--target": "b"})) == []
    (folder / "half.toml").write_text('[data]\ntarget = "b"\n')
    assert of_settings(load_settings(folder / "half.toml", data)) == []
