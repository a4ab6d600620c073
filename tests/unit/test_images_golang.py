"""Go programs of the catalogue: what decides on a binary is in its key, checksums stay on, errors say what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import PlatformError, UsageError
from harness.images import golang
from harness.images.catalogue import Catalogue, Item
from harness.images.golang import built_name, check_version, environment, explained, inputs, source_version

FACTS = {"GOVERSION": "go1.26.8", "GOARCH": "amd64", "GOPROXY": "https://proxy.example.com", "GOTOOLCHAIN": "local"}
MODULE = Item("module/x", "module", "x", "module", (), {"programs": {"x": "."}})


@pytest.fixture
def wrapper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wrapper module, and a Go that tells FACTS of itself."""
    monkeypatch.setattr(golang, "go_facts", lambda: FACTS)
    folder = tmp_path / "go" / "x"
    folder.mkdir(parents=True)
    (folder / "go.mod").write_text("module x\n\ngo 1.26.7\n")
    (folder / "go.sum").write_text("example.com/lib v1.2.0 h1:abc=\nexample.com/lib v1.2.0/go.mod h1:def=\n")
    (folder / "main.go").write_text("package main\n")
    return folder


@pytest.mark.parametrize("name", ["go.mod", "go.sum", "main.go", "deeper/main.go"])
def test_the_key_changes_with_every_file_of_the_wrapper(wrapper: Path, name: str) -> None:
    """A raised version, another checksum or another line of ours is another program."""
    catalogue = Catalogue({}, wrapper.parent.parent)
    before = inputs(MODULE, catalogue)
    (wrapper / name).parent.mkdir(exist_ok=True)
    with (wrapper / name).open("a") as file:
        file.write("// changed\n")
    assert inputs(MODULE, catalogue) != before


@pytest.mark.parametrize("fact", ["GOVERSION", "GOARCH"])
def test_the_key_changes_with_the_compiler(wrapper: Path, fact: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A security fix of Go itself rebuilds everything."""
    catalogue = Catalogue({}, wrapper.parent.parent)
    before = inputs(MODULE, catalogue)
    monkeypatch.setattr(golang, "go_facts", lambda: {**FACTS, fact: "other"})
    assert inputs(MODULE, catalogue) != before


def test_a_bundle_follows_the_checksum_of_its_module(wrapper: Path) -> None:
    """And only that: another module's version does not touch it."""
    assert source_version(Catalogue({}, wrapper.parent.parent), "x", "example.com/lib") == [
        "example.com/lib v1.2.0 h1:abc="
    ]


def test_the_environment_leaves_no_way_round_the_checksums() -> None:
    """A machine's habits must not decide on what is verified."""
    given = {"PATH": "/bin", "GOSUMDB": "off", "GOFLAGS": "-mod=mod", "GONOSUMCHECK": "1", "GONOSUMDB": "*"}
    assert environment(given) == {
        "PATH": "/bin",
        "GOGC": "400",
        "CGO_ENABLED": "0",
        "GOOS": "linux",
        "GOWORK": "off",
        "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false",
    }


def test_a_checksum_database_of_ones_own_is_kept() -> None:
    """An air-gapped company runs its own."""
    assert environment({"GOSUMDB": "sum.example.com"})["GOSUMDB"] == "sum.example.com"


@pytest.mark.parametrize(
    ("package", "name"),
    [
        ("k8s.io/kubernetes/cmd/kubectl", "kubectl"),
        ("go.etcd.io/etcd/server/v3", "server"),
        (".", "coredns"),
        ("./chart", "chart"),
    ],
)
def test_the_name_that_go_gives_a_program(package: str, name: str) -> None:
    """A major version is no name."""
    assert built_name(package, "coredns") == name


def test_a_go_that_is_too_old_is_one_line(wrapper: Path) -> None:
    """With the version that is needed, and how to let Go fetch it."""
    with pytest.raises(UsageError, match=r"x needs Go 1\.26\.7 or newer, and this is Go 1\.26\.3.* GOTOOLCHAIN=auto"):
        check_version(wrapper, {**FACTS, "GOVERSION": "go1.26.3"})


@pytest.mark.parametrize(
    "facts", [{"GOVERSION": "go1.26.7"}, {"GOVERSION": "go1.27"}, {"GOVERSION": "go1.20", "GOTOOLCHAIN": "auto"}]
)
def test_a_go_that_is_new_enough_or_may_fetch_one_builds(wrapper: Path, facts: dict[str, str]) -> None:
    """Only what cannot work is refused."""
    check_version(wrapper, {**FACTS, **facts})


@pytest.mark.parametrize(
    "line",
    [
        'go: example.com/lib@v1.2.0: Get "https://x": dial tcp: lookup x on 127.0.0.1:53: no such host',
        "go: example.com/lib@v1.2.0: reading https://x: 404 Not Found",
        "go: example.com/lib@v1.2.0: module lookup disabled by GOPROXY=off",
    ],
)
def test_without_a_way_to_the_modules_the_error_names_the_proxy_and_the_variable(
    wrapper: Path, tmp_path: Path, line: str
) -> None:
    """The one thing that a user without a network can change."""
    log = tmp_path / "log"
    log.write_text(f"go: downloading example.com/lib v1.2.0\n{line}\n")
    error = explained(PlatformError("go build ended with exit code 1"), log)
    assert isinstance(error, UsageError)
    assert "GOPROXY=https://proxy.example.com" in str(error)
    assert "set GOPROXY" in error.hint


def test_an_error_of_the_compiler_stays_what_it_is(wrapper: Path, tmp_path: Path) -> None:
    """A type error is not blamed on the network."""
    log = tmp_path / "log"
    log.write_text("./main.go:404: undefined: x\n")
    error = PlatformError("go build ended with exit code 1")
    assert explained(error, log) is error


def test_without_go_nothing_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says what to install."""
    monkeypatch.setattr(golang, "go_facts", dict)
    with pytest.raises(UsageError, match=r"Go is not here.*install Go"):
        golang.require_go()
