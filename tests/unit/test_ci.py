"""`.ci/run` with a rehearse that only tells: what fails, what is left out with a reason, and the time that there is."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / ".ci" / "run"
PASSED = 'echo "== 3 passed in 1.00s =="'
ALL_WELL = {
    "test": PASSED,
    "exec": "echo Docker runs",
    "images build --dry-run": "",
    "images build": "",
    "doctor": "",
    "test -e kind-smoke": 'echo "== 1 passed in 9.00s =="',
}
SMOKE = "rehearse test -e kind-smoke"


def ci(
    tmp_path: Path, *arguments: str, seconds: int = 5400, instead: Mapping[str, str] = MappingProxyType({})
) -> tuple[int, list[str], list[str]]:
    """Exit code, printed lines, and calls of a run; `instead` has other shell lines for one of ALL_WELL's calls."""
    (tmp_path / ".ci").mkdir()
    script = (
        SCRIPT.read_text(encoding="utf-8").replace("$((90 * 60))", str(seconds)).replace("grace_s=120", "grace_s=5")
    )
    (tmp_path / ".ci" / "run").write_text(script, encoding="utf-8")
    does = {**ALL_WELL, **instead}
    cases = [f'"{call}"*) {lines} ;;' for call, lines in sorted(does.items(), reverse=True)]
    fake = ["#!/bin/bash", 'echo "rehearse $*" >> calls', 'case "$*" in', *cases, "esac"]
    (tmp_path / "rehearse").write_text("\n".join(fake), encoding="utf-8")
    for path in (tmp_path / "rehearse", tmp_path / ".ci" / "run"):
        path.chmod(0o755)
    argv = [str(tmp_path / ".ci" / "run"), *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    calls = tmp_path / "calls"
    return done.returncode, done.stdout.splitlines(), calls.read_text().splitlines() if calls.exists() else []


def test_tests_then_the_smoke_and_their_last_lines_once_more(tmp_path: Path) -> None:
    code, lines, calls = ci(tmp_path)
    assert code == 0
    assert lines[-2:] == ["== 3 passed in 1.00s ==", "== 1 passed in 9.00s =="]
    assert (calls[0], calls[-1]) == ("rehearse test", SMOKE)


@pytest.mark.parametrize(("part", "ran"), [("tests", ["rehearse test"]), ("kind", [SMOKE])])
def test_a_part_can_be_asked_for(tmp_path: Path, part: str, ran: list[str]) -> None:
    code, _, calls = ci(tmp_path, part)
    assert (code, [call for call in calls if call.startswith("rehearse test")]) == (0, ran)


LACKS = {
    "Docker": ("exec", "rehearse: The Docker engine is not running. Only root can start one."),
    "Go": ("images build --dry-run", "rehearse: images: Go is not here: no `go` on PATH."),
    "module proxy": ("images build", "rehearse: images: Go modules cannot be downloaded: no such host"),
}


@pytest.mark.parametrize("case", LACKS)
def test_what_the_machine_lacks_leaves_the_smoke_out_with_the_reason(tmp_path: Path, case: str) -> None:
    """The tests count as before; the reason is among the last lines."""
    call, reason = LACKS[case]
    code, lines, calls = ci(tmp_path, instead={call: f"echo '{reason}' >&2; exit 2"})
    assert code == 0
    assert lines[-2:] == ["== 3 passed in 1.00s ==", lines[-1]]
    assert lines[-1].startswith("left out: the kind smoke: ")
    assert lines[-1].endswith(reason)
    assert SMOKE not in calls


def test_too_little_memory_leaves_the_smoke_out(tmp_path: Path) -> None:
    told = "echo 'kind: not usable yet'; echo '  missing  Docker  Too little memory: 5 GiB free are needed'; exit 1"
    code, lines, calls = ci(tmp_path, instead={"doctor": told})
    assert (code, SMOKE in calls) == (0, False)
    assert lines[-1] == "left out: the kind smoke:   missing  Docker  Too little memory: 5 GiB free are needed"


@pytest.mark.parametrize("call", ["exec", "images build --dry-run", "doctor"])
def test_a_defect_of_ours_is_not_left_out(tmp_path: Path, call: str) -> None:
    """A traceback says nothing of the machine; a run that leaves the smoke out for it would stay green."""
    fails = "echo 'Traceback (most recent call last):' >&2; echo 'KeyError: 1' >&2; exit 1"
    code, lines, calls = ci(tmp_path, instead={call: fails})
    assert (code, SMOKE in calls) == (1, False)
    assert not any(line.startswith("left out") for line in lines)


def test_what_was_asked_for_by_name_is_not_left_out(tmp_path: Path) -> None:
    """Or a job for the smoke alone would be green without one."""
    code, lines, _ = ci(tmp_path, "kind", instead={"exec": "echo 'rehearse: no engine' >&2; exit 1"})
    assert (code, lines[-1]) == (1, "left out: the kind smoke: rehearse: no engine")


@pytest.mark.parametrize("call", ["test", "images build", "test -e kind-smoke"])
def test_what_fails_fails_the_run(tmp_path: Path, call: str) -> None:
    code, _, calls = ci(tmp_path, instead={call: "exit 1"})
    assert code == 1
    assert "rehearse images build" in calls


def test_a_cold_build_that_would_not_fit_is_not_begun(tmp_path: Path) -> None:
    """With images left to build, and an hour of 90 minutes gone."""
    code, lines, calls = ci(tmp_path, seconds=1800, instead={"images build --dry-run": "echo module/kubernetes"})
    assert (code, "rehearse images build" in calls) == (0, False)
    assert "tox run -e kind-smoke runs it" in lines[-1]


def test_tests_that_hang_are_interrupted_and_fail(tmp_path: Path) -> None:
    """By Ctrl-C, so that they can take down what they started."""
    hangs = "trap 'echo interrupted; exit 130' INT; for n in $(seq 600); do sleep 0.1; done"
    code, lines, _ = ci(tmp_path, "tests", seconds=7, instead={"test": hangs})
    assert (code, "interrupted" in lines) == (1, True)


@pytest.mark.parametrize("arguments", [("all", "kind"), ("smoke",)])
def test_a_wrong_word_is_a_usage_error(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert ci(tmp_path, *arguments) == (2, [], [])
