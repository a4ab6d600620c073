"""The Docker engine: each way in which it is not to be had is one line with what to do, wherever it is asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.cli import run_command
from harness.errors import CapabilityMissing, PlatformError
from harness.images.engine import GIB, Engine, docker, engine_of, probe, refusal, require_engine, require_room
from harness.runtime.supervisor import base_env
from tests.unit.fake_programs import FakePrograms, fake_programs

FACTS = {
    "ServerVersion": "28.5.1",
    "DockerRootDir": "/nowhere/docker",
    "MemTotal": 64 * GIB,
    "CgroupVersion": "2",
    "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"],
}
NO_SOCKET = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
NO_PERMISSION = (
    "Got permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock: "
    'Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.24/info": dial unix /var/run/docker.sock: connect: permission denied'
)
NO_CAPS = (
    "docker: Error response from daemon: failed to create shim task: OCI runtime create failed: runc create failed: "
    "unable to start container process: unable to apply caps: operation not permitted: unknown."
)
RUNS = "docker: Error response from daemon: exec: /nothing: stat /nothing: no such file or directory: unknown."


def answering(facts: object, started: str) -> str:
    """The script of a docker whose engine answers, and says so when a container is started."""
    return f"""
case "$1" in
  info) cat <<'FACTS'
{json.dumps(facts)}
FACTS
  ;;
  import) cat > /dev/null ;;
  run) echo {started!r} >&2; exit 127 ;;
esac"""


def failing(said: str) -> str:
    return f"cat >&2 <<'SAID'\n{said}\nSAID\nexit 1"


# What is on PATH as docker, the line, and what to do.
LACKS: dict[str, tuple[str | None, str, str]] = {
    "no docker": (None, "Docker is not here: no `docker` on PATH.", "apt-get install docker.io"),
    "no permission": (failing(NO_PERMISSION), "No permission to use Docker's socket.", "usermod -aG docker"),
    "no engine": (failing(NO_SOCKET), "The Docker engine is not running.", "start"),
    # Some versions of the client print their own half, and end with 0.
    "half an answer": (
        answering({"ServerVersion": "", "ServerErrors": [NO_SOCKET]}, ""),
        "The Docker engine is not running.",
        "start",
    ),
    "out of reach": (
        failing('error during connect: Get "https://far:2376/v1.24/info": dial tcp: lookup far: no such host'),
        "The Docker engine cannot be reached: error during connect:",
        "start",
    ),
    "another failure": (failing("the disk is on fire"), "The Docker engine does not answer: docker info", "start"),
}
NO_PRIVILEGES = (
    answering(FACTS, NO_CAPS),
    "Docker cannot start a privileged container: unable to apply caps: operation not permitted.",
    "CAP_SYS_RESOURCE",
)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePrograms:
    """Nothing of this machine's Docker; a current folder and a cache of this test alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REHEARSAL_CACHE", str(tmp_path / "cache"))
    programs = fake_programs(tmp_path, monkeypatch, alone=True)
    for name in ("cat", "sh", "env"):
        (programs.folder / name).symlink_to(f"/bin/{name}" if Path(f"/bin/{name}").exists() else f"/usr/bin/{name}")
    return programs


def put(programs: FakePrograms, script: str | None) -> None:
    if script is not None:
        programs.put("docker", script)


@pytest.mark.parametrize("case", LACKS)
def test_an_engine_that_is_not_to_be_had_is_one_line_with_what_to_do(programs: FakePrograms, case: str) -> None:
    """As a capability that is missing: whoever can do without skips."""
    script, message, hint = LACKS[case]
    put(programs, script)
    with pytest.raises(CapabilityMissing) as raised:
        probe()
    assert raised.value.message.startswith(message)
    assert hint in raised.value.hint


def test_an_engine_that_answers_says_what_it_has(programs: FakePrograms) -> None:
    """Its data folder may be another machine's: then its free disk is not known."""
    put(programs, answering(FACTS, ""))
    engine = probe()
    assert (engine.version, engine.cgroup, engine.rootless, engine.free_disk) == ("28.5.1", "2", False, None)
    assert engine.words == "28.5.1 (cgroup v2, 64 GiB memory)"


def test_a_rootless_engine_is_told_from_another() -> None:
    assert engine_of({**FACTS, "SecurityOptions": ["name=rootless"]}).rootless
    assert not engine_of({**FACTS, "SecurityOptions": None}).rootless


def test_a_privileged_container_is_tried(programs: FakePrograms) -> None:
    """The engine answers; whether it may run a node shows only when it starts one. Nothing of it stays."""
    put(programs, answering(FACTS, RUNS))
    assert require_engine().version == "28.5.1"
    [run] = [call for call in programs.calls() if " run " in call]
    assert "--rm --privileged --network=none" in run


def test_a_privileged_container_that_is_refused_is_told_by_its_innermost_reason(programs: FakePrograms) -> None:
    """Not by the whole chain of programs that failed one after the other."""
    script, message, hint = NO_PRIVILEGES
    put(programs, script)
    with pytest.raises(CapabilityMissing) as raised:
        require_engine()
    assert raised.value.message == message
    assert hint in raised.value.hint


@pytest.mark.parametrize(
    ("memory", "free_memory", "disk", "message"),
    [
        (64, 2.25, 100, "Too little memory: 5 GiB free are needed, 2.2 GiB are here."),
        (4, 60, 100, "Too little memory: 5 GiB free are needed, 4.0 GiB are here."),
        (64, None, 3.5, "Too little disk: 8 GiB free are needed in /data, 3.5 GiB are here."),
    ],
)
def test_too_little_room_is_told_with_both_numbers(
    memory: float, free_memory: float | None, disk: float, message: str
) -> None:
    """What is needed, and what is here; the engine may be on another machine than this one."""
    free = None if free_memory is None else int(free_memory * GIB)
    engine = Engine("1", "/data", int(memory * GIB), False, "2", int(disk * GIB), free)
    with pytest.raises(CapabilityMissing) as raised:
        require_room(engine)
    assert raised.value.message == message


def test_room_that_is_not_known_is_not_refused() -> None:
    require_room(Engine("1", "/data", 64 * GIB, False, "2"))


def test_words_about_something_else_are_no_missing_engine(programs: FakePrograms) -> None:
    """A failing command is an error with its last line, and no skip."""
    assert refusal("Error: No such image: x:1") is None
    put(programs, failing("WARNING: old\nError: No such image: x:1.\nSee 'docker run --help'."))
    with pytest.raises(PlatformError, match=r"^docker image inspect x:1: Error: No such image: x:1\.$"):
        docker("image", "inspect", "x:1")


def test_an_engine_that_hangs_ends_after_the_time(programs: FakePrograms) -> None:
    put(programs, "exec /bin/sleep 60")
    with pytest.raises(PlatformError, match=r"^docker ps: no answer within 0\.2 s\.$"):
        docker("ps", timeout_s=0.2)


COMMANDS = (
    ["run", "--backend", "kind"],
    ["up", "--backend", "kind"],
    ["images", "build"],
    ["images", "build", "--dry-run"],
)


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("case", LACKS)
def test_on_the_command_line_it_is_exit_code_2_one_line_and_nothing_written(
    programs: FakePrograms, capsys: pytest.CaptureFixture[str], arguments: list[str], case: str
) -> None:
    script, message, hint = LACKS[case]
    put(programs, script)
    assert run_command(arguments) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert message in line
    assert hint in line
    assert not (Path.cwd() / "reports").exists()


def test_a_run_in_kind_without_privileges_is_refused_in_one_line(
    programs: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before a run folder is made."""
    put(programs, NO_PRIVILEGES[0])
    assert run_command(["run", "--backend", "kind"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"rehearse: --backend kind: {NO_PRIVILEGES[1]} Hint: let the engine run as root")
    assert not (Path.cwd() / "reports").exists()


def test_a_pytest_session_in_kind_ends_with_the_line_and_not_with_every_test(
    programs: FakePrograms, tmp_path: Path
) -> None:
    """As for a wrong option: nobody reads it fifty times."""
    (tmp_path / "test_users.py").write_text("def test_one(platform): ...\ndef test_two(platform): ...\n")
    argv = [sys.executable, "-m", "pytest", "--backend", "kind", "-q", "-p", "no:cacheprovider"]
    env = {name: value for name, value in base_env().items() if not name.startswith("PYTEST_XDIST_")}  # a session's own
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 4
    assert done.stdout.count("--backend kind: Docker is not here: no `docker` on PATH. Hint: ") == 1
    assert "no tests ran" in done.stdout
    assert not (tmp_path / "reports").exists()
