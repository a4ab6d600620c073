"""An engine of our own where there is none: who may start it, how, and what runc is spared."""

from __future__ import annotations

import json
import signal
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from harness.errors import CapabilityMissing
from harness.images import apt, dockerd
from harness.images.runc_wrapper import CAPABILITY, files, without_capability
from harness.runtime.identity import Identity
from tests.unit.fake_programs import FakePrograms, fake_programs

NO_ENGINE = 'echo "Cannot connect to the Docker daemon. Is the docker daemon running?" >&2; exit 1'
ALL = "CapInh:\t0000000000000000\nCapBnd:\t000001ffffffffff\nCapAmb:\t0000000000000000\n"
ALL_BUT_ONE = ALL.replace("1ffffffffff", "1fffeffffff")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePrograms:
    """A docker without an engine, and a state of this test alone."""
    monkeypatch.setenv("REHEARSAL_STATE", str(tmp_path / "state"))
    programs = fake_programs(tmp_path, monkeypatch)
    programs.put("docker", NO_ENGINE)
    return programs


def test_the_capability_is_looked_for_where_a_child_would_get_it() -> None:
    """In the bounding set: the other masks may be empty."""
    assert not dockerd.lacks_sys_resource(ALL)
    assert dockerd.lacks_sys_resource(ALL_BUT_ONE)
    assert dockerd.lacks_sys_resource("")


def test_an_engine_is_started_as_it_comes_unless_root_lacks_the_capability() -> None:
    """Only then is runc wrapped, and a container given no more open files than this process has."""
    assert dockerd.arguments(None, 1024) == ["dockerd"]
    assert dockerd.arguments(Path("/state/runc"), 1024) == [
        "dockerd",
        "--add-runtime=rehearsal=/state/runc",
        "--default-runtime=rehearsal",
        "--default-ulimit=nofile=1024:1024",
    ]


def test_only_root_starts_an_engine(programs: FakePrograms, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody else is told what is missing and how a person gets it."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(
        CapabilityMissing, match=r"^The Docker engine is not running\. Only root can start one\. Hint: "
    ):
        dockerd.start()
    assert programs.calls() == ["docker info --format {{json .}}"]


def test_no_engine_is_started_in_the_place_of_one_elsewhere(
    programs: FakePrograms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DOCKER_HOST names another machine's, or another socket."""
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(CapabilityMissing, match=r"^The Docker engine is not running\."):
        dockerd.start()


def test_an_engine_that_answers_is_left_alone(programs: FakePrograms, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is installed or started beside it."""
    facts = json.dumps({"ServerVersion": "28.5.1", "MemTotal": 2**30, "CgroupVersion": "2"})
    programs.put("docker", f"echo '{facts}'")
    assert dockerd.main(["start"]) == 0
    assert capsys.readouterr().err == "rehearse: Docker runs: 28.5.1 (cgroup v2, 1 GiB memory)\n"


def test_stop_ends_nothing_that_start_has_not_started(
    programs: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also if the state file is old: its process id may be another program's now."""
    assert dockerd.main(["stop"]) == 0
    assert capsys.readouterr().err == "rehearse: no engine of ours runs\n"


def test_stop_ends_the_engine_that_start_has_started_but_not_under_a_container(
    programs: FakePrograms, tmp_path: Path
) -> None:
    """Another session's cluster may run in it, or one that is kept."""
    state = tmp_path / "state" / "docker" / "dockerd.json"
    state.parent.mkdir(parents=True)
    with subprocess.Popen(["sleep", "60"]) as dockerd_of_ours:
        state.write_text(json.dumps(asdict(Identity.of(dockerd_of_ours.pid))), encoding="utf-8")
        programs.put("docker", "echo rehearsal-control-plane")
        assert dockerd.stop() == "Docker is left running: somebody uses rehearsal-control-plane"
        assert dockerd_of_ours.poll() is None
        programs.put("docker")
        assert dockerd.stop() == "Docker stopped"
        assert dockerd_of_ours.wait(10) == -signal.SIGTERM
    assert not state.exists()


def test_a_wrong_word_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert dockerd.main(["restart"]) == 2
    assert capsys.readouterr().err == "usage: python -m harness.images.dockerd start|stop\n"


def test_what_cannot_be_started_ends_with_one_line(
    programs: FakePrograms, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A CI script prints its last line."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert dockerd.main(["start"]) == 1
    assert capsys.readouterr().err.startswith("rehearse: The Docker engine is not running. Only root can start one.")


def bundle(folder: Path) -> dict[str, Any]:
    """The configuration of a privileged container in a runc bundle."""
    sets = {name: ["CAP_CHOWN", CAPABILITY, "CAP_KILL"] for name in ("bounding", "effective", "permitted")}
    document = {"ociVersion": "1.0.2", "process": {"args": ["sh"], "capabilities": {**sets, "ambient": None}}}
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(document), encoding="utf-8")
    return document


def test_the_capability_goes_out_of_every_set_and_nothing_else_changes() -> None:
    process = {"args": ["sh"], "capabilities": {"bounding": ["CAP_KILL", CAPABILITY], "ambient": None}}
    assert without_capability(process) == {"args": ["sh"], "capabilities": {"bounding": ["CAP_KILL"], "ambient": []}}
    assert without_capability({"args": ["sh"]}) == {"args": ["sh"], "capabilities": {}}


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--root", "/r", "create", "--bundle", "/b", "--pid-file", "/p", "id"], (Path("/b/config.json"), None)),
        (["run", "id"], (Path("config.json"), None)),
        (["exec", "--process", "/p.json", "id"], (None, Path("/p.json"))),
        (["kill", "id", "KILL"], (None, None)),
        (["exec", "--process"], (None, None)),
    ],
)
def test_the_files_that_say_what_a_container_may_are_found(
    argv: list[str], expected: tuple[Path | None, Path | None]
) -> None:
    assert files(argv) == expected


def test_the_wrapper_takes_the_capability_away_and_calls_runc_with_the_same_words(
    programs: FakePrograms, tmp_path: Path
) -> None:
    """As dockerd would call it: the program that was written, with a bundle, then with a process in a container."""
    document = bundle(tmp_path / "bundle")
    process = tmp_path / "process.json"
    process.write_text(json.dumps(document["process"]), encoding="utf-8")
    programs.put("runc", "exit 7")
    (tmp_path / "state" / "docker").mkdir(parents=True)
    wrapper = dockerd._write_wrapper()
    for argv in (["create", "--bundle", str(tmp_path / "bundle"), "c1"], ["exec", "--process", str(process), "c1"]):
        assert subprocess.run([str(wrapper), *argv], timeout=30, check=False).returncode == 7
    assert programs.calls() == [f"runc create --bundle {tmp_path}/bundle c1", f"runc exec --process {process} c1"]
    left = json.loads((tmp_path / "bundle" / "config.json").read_text())
    assert left["ociVersion"] == "1.0.2"
    for found in (left["process"], json.loads(process.read_text())):
        assert found["args"] == ["sh"]
        assert found["capabilities"]["bounding"] == ["CAP_CHOWN", "CAP_KILL"]
        assert CAPABILITY not in json.dumps(found)


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)


def test_packages_are_installed_by_root_with_fresh_lists(programs: FakePrograms, root: None) -> None:
    """Without what Debian merely recommends."""
    programs.put("apt-get")
    apt.install("docker.io", "iptables", what="Docker")
    assert programs.calls() == [
        "apt-get -qq update",
        "apt-get -qq install -y --no-install-recommends docker.io iptables",
    ]


def test_a_package_that_cannot_be_installed_is_told_with_apts_last_word(programs: FakePrograms, root: None) -> None:
    """And with the command for a person to try."""
    programs.put("apt-get", 'case "$*" in *install*) echo "W: old" >&2; echo "E: no space left" >&2; exit 100;; esac')
    said = (
        r"^Docker could not be installed: apt-get -qq install: E: no space left\. Hint: .*apt-get install docker\.io$"
    )
    with pytest.raises(CapabilityMissing, match=said):
        apt.install("docker.io", what="Docker")


def test_who_is_not_root_or_has_no_apt_is_told_before_anything_is_tried(
    programs: FakePrograms, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said = r"^Docker is not here, and only root can install it, with apt-get\. Hint: .*apt-get install docker\.io$"
    programs.put("apt-get")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(CapabilityMissing, match=said):
        apt.install("docker.io", what="Docker")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CapabilityMissing, match=said):
        apt.install("docker.io", what="Docker")
    assert programs.calls() == []
