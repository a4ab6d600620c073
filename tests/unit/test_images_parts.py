"""What images are made of: Debian's packages, Python's packages and our code, kind's files with our changes."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import __version__
from harness.errors import CapabilityMissing, PlatformError, UsageError
from harness.images import debian, golang, leftovers, node, python_tree
from harness.images.archive import LAYER
from harness.images.catalogue import Catalogue, Item
from harness.images.making import Commands, Making
from harness.runtime.identity import Identity
from harness.runtime.owner import Owner
from harness.runtime.uv import uv_settings
from tests.unit.fake_programs import FakePrograms, fake_programs

DEB822 = """Types: deb
URIs: http://deb.debian.org/debian
Suites: bookworm bookworm-updates
Components: main
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePrograms:
    return fake_programs(tmp_path, monkeypatch)


def making(tmp_path: Path, kind: str, options: Mapping[str, Any], parts: Mapping[str, Path] | None = None) -> Making:
    """An item that is being made in an empty folder."""
    folder = tmp_path / "made"
    folder.mkdir()
    item = Item("part/x", "part", "x", kind, tuple(parts or ()), options)
    log, nowhere = tmp_path / "log", Catalogue({}, tmp_path)
    return Making(item, "key", folder, nowhere, parts or {}, log, lambda detail: None, Commands())


def names_in(layer: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(layer) as tar:
        return {entry.name: entry for entry in tar}


@pytest.mark.parametrize(
    ("text", "own"),
    [
        (DEB822, True),
        ("deb http://deb.debian.org/debian bookworm main\n", True),
        ("deb [signed-by=/x.gpg] https://mirror/debian-security bookworm-security main\n", True),
        (DEB822.replace("bookworm", "trixie"), False),
        ("deb https://packages.example.com/apt tool-bookworm main\n", False),
        ("# deb http://deb.debian.org/debian bookworm main\n", False),
    ],
)
def test_apts_own_sources_are_taken_if_they_are_debians_of_this_suite(text: str, own: bool) -> None:
    """A mirror that works for the machine works for its images; another archive has no place in them."""
    path = Path("/etc/apt/sources.list.d/x.sources")
    assert debian.own_sources({path: text}, debian.SUITE) == ([path] if own else [])


def test_apts_own_proxy_and_certificate_are_taken_and_nothing_else() -> None:
    dump = (
        'APT "";\nAcquire::http::Proxy "http://proxy:3128";\nAcquire::https::CaInfo "/ca.pem";\nAcquire::Retries "3";\n'
    )
    assert debian.own_acquire(dump) == [
        '--aptopt=Acquire::http::Proxy "http://proxy:3128";',
        '--aptopt=Acquire::https::CaInfo "/ca.pem";',
    ]


def test_a_root_is_made_of_the_entrys_packages_without_what_nobody_reads(
    tmp_path: Path, programs: FakePrograms
) -> None:
    """And keeps dpkg's list, which says what a layer above it need not bring."""
    programs.put("apt-config")
    programs.put(
        "mmdebstrap",
        'for last; do case "$last" in */layer.tar) target=$last;; esac; done\n'
        'mkdir -p "$FAKES/var/lib/dpkg" && echo "Package: bash" > "$FAKES/var/lib/dpkg/status"\n'
        'tar -C "$FAKES" -cf "$target" ./var',
    )
    root = making(tmp_path, "root", {"packages": ["bash", "ca-certificates"]})
    debian.make_root(root)
    assert (root.folder / debian.STATUS).read_text() == "Package: bash\n"
    [call] = [call for call in programs.calls() if call.startswith("mmdebstrap")]
    assert call.startswith("mmdebstrap --variant=essential --format=tar --include=bash,ca-certificates ")
    assert "--dpkgopt=path-exclude=/usr/share/man/*" in call
    assert f" {debian.SUITE} {root.folder / LAYER}" in call


def test_packages_are_a_layer_above_a_root_in_its_shape(tmp_path: Path, programs: FakePrograms) -> None:
    """Their files in a merged /usr, with the entry's links; nothing of dpkg's, nothing that nobody reads, no drop."""
    root = tmp_path / "root"
    root.mkdir()
    (root / debian.STATUS).write_text("Package: bash\n", encoding="utf-8")
    programs.put("apt-config")
    programs.put(
        "mmdebstrap",
        'for last; do case "$last" in */unpacked.tar) target=$last;; esac; done\n'
        'cd "$FAKES" && mkdir -p tree/bin tree/usr/share/doc/x tree/usr/share/x tree/var/lib/dpkg && cd tree\n'
        "echo tool > bin/tool; ln bin/tool bin/same; cd usr/share; touch doc/x/README x/large x/kept; cd ../..\n"
        'touch var/lib/dpkg/status && tar -cf "$target" .',
    )
    options = {
        "packages": ["x"],
        "root": "part/root",
        "drop": ["usr/share/x/large"],
        "links": {"bin/x": "/usr/bin/tool"},
    }
    packages = making(tmp_path, "packages", options, {"part/root": root})
    debian.make_packages(packages)
    found = names_in(packages.folder / LAYER)
    files = {name: entry for name, entry in found.items() if not entry.isdir()}
    assert set(files) == {"usr/bin/tool", "usr/bin/same", "usr/share/x/kept", "bin/x"}
    assert {files[name].linkname for name in files if files[name].islnk()} <= {"usr/bin/tool", "usr/bin/same"}
    assert (files["bin/x"].issym(), files["bin/x"].linkname) == (True, "/usr/bin/tool")
    [call] = [call for call in programs.calls() if call.startswith("mmdebstrap")]
    assert "--variant=extract" in call
    assert "/var/lib/dpkg/status" in call  # of the root: what is in it is not unpacked again


def test_without_mmdebstrap_whoever_is_not_root_is_told_before_a_build_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    fake_programs(tmp_path, monkeypatch, alone=True)
    item = Item("part/base", "part", "base", "root")
    with pytest.raises(CapabilityMissing, match=r"^mmdebstrap, .* is not here.* Hint: .*apt-get install mmdebstrap$"):
        debian.require(item, Catalogue({}, tmp_path))


def test_without_go_or_with_an_old_one_a_build_does_not_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each module is asked for the version that it needs."""
    item, catalogue = Item("module/x", "module", "x", "module"), Catalogue({}, tmp_path)
    (tmp_path / "go" / "x").mkdir(parents=True)
    (tmp_path / "go" / "x" / "go.mod").write_text("module x\n\ngo 1.26.7\n")
    monkeypatch.setattr(golang, "go_facts", dict)
    with pytest.raises(UsageError, match="Go is not here"):
        golang.require(item, catalogue)
    monkeypatch.setattr(golang, "go_facts", lambda: {"go": "go", "GOVERSION": "go1.25.0", "GOTOOLCHAIN": "local"})
    with pytest.raises(UsageError, match=r"x needs Go 1\.26\.7 or newer, and this is Go 1\.25\.0"):
        golang.require(item, catalogue)


def test_pips_settings_are_handed_to_uv_unless_it_has_its_own() -> None:
    """From files and variables alike, as `pip config list` prints them."""
    told = [
        "global.index-url='https://mirror/simple'",
        "install.extra-index-url='https://a/simple\\nhttps://b/simple'",
        ":env:.cert='/ca.pem'",
        "global.timeout='60'",
        "global.no-color='true'",
    ]
    assert uv_settings(told, {"UV_HTTP_TIMEOUT": "5"}) == {
        "UV_DEFAULT_INDEX": "https://mirror/simple",
        "UV_INDEX": "https://a/simple https://b/simple",
        "SSL_CERT_FILE": "/ca.pem",
    }


def test_the_tree_has_what_we_require_with_the_extras_that_an_image_needs() -> None:
    """Without what is of use on a developer's machine only."""
    lines = [
        "numpy",
        "mlflow==3.17.2",
        "pytest>=9",
        "kubernetes==30.1.0; extra == 'kubernetes'",
        "ruff; extra == 'dev'",
    ]
    assert python_tree.requirements_of(lines, ["kubernetes"], ["pytest"]) == [
        "kubernetes==30.1.0",
        "mlflow==3.17.2",
        "numpy",
    ]
    assert python_tree.requirements_of(["uvicorn[standard,http]>=1"], [], []) == ["uvicorn[http,standard]>=1"]


def test_a_program_that_cannot_share_our_environment_has_its_own_requirements_and_versions(tmp_path: Path) -> None:
    """Its tree is made again when those change, and not when ours do."""
    (tmp_path / "theirs.txt").write_text("feast==1.0\n", encoding="utf-8")
    options = {"requirements": ["feast==1.0"], "constraints": "theirs.txt"}
    item = Item("part/feast", "part", "feast", "tree", options=options)
    before = python_tree.tree_inputs(item, Catalogue({}, tmp_path))
    assert before[-2:] == ["feast==1.0", "feast==1.0\n"]
    assert not any("mlflow" in line for line in before)
    (tmp_path / "theirs.txt").write_text("feast==1.1\n", encoding="utf-8")
    assert python_tree.tree_inputs(item, Catalogue({}, tmp_path)) != before


def test_a_command_of_a_package_is_a_program_that_runs(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text(python_tree.script("os.path:basename [extra]"), encoding="utf-8")
    assert program.read_text().splitlines() == [
        "#!/usr/bin/python3",
        "import sys",
        "from os.path import basename",
        "sys.exit(basename())",
    ]


def test_our_own_code_is_a_layer_with_its_commands(tmp_path: Path) -> None:
    """As in the environment that builds it: the harness, its metadata, the load tests, and `rehearse`."""
    app = making(tmp_path, "app", {})
    python_tree.make_app(app)
    found = names_in(app.folder / LAYER)
    about = f"opt/rehearsal/app/rehearsal-{__version__}.dist-info"
    assert {"opt/rehearsal/app/harness/platform.py", "opt/rehearsal/bin/rehearse", f"{about}/METADATA"} <= set(found)
    assert found["opt/rehearsal/bin/rehearse"].mode & 0o111
    assert any(name.startswith("opt/rehearsal/app/loadtests/") and name.endswith(".py") for name in found)
    assert not [name for name in found if "__pycache__" in name]
    assert not (app.folder / ".scratch" / "root").exists()


def test_the_key_of_our_code_changes_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a cluster would run yesterday's."""
    package = tmp_path / "harness"
    (package / "__pycache__").mkdir(parents=True)
    (package / "a.py").write_text("a = 1\n")
    monkeypatch.setattr(python_tree, "_HARNESS", package)
    item, catalogue = Item("part/app", "part", "app", "app"), Catalogue({}, tmp_path)
    before = python_tree.app_inputs(item, catalogue)
    (package / "__pycache__" / "a.pyc").write_text("compiled")
    assert python_tree.app_inputs(item, catalogue) == before
    (package / "a.py").write_text("a = 2\n")
    assert python_tree.app_inputs(item, catalogue) != before


def test_a_package_without_a_pin_is_told() -> None:
    item = Item("part/x", "part", "x", "wheel", (), {"package": "no-such-package"})
    with pytest.raises(CapabilityMissing, match=r"^no-such-package has no version in constraints\.txt\."):
        python_tree.wheel_inputs(item, Catalogue({}, Path()))


def test_kinds_file_gets_our_changes_and_one_that_has_moved_is_named() -> None:
    """After an upgrade of kind a change must not be lost without a word."""
    unit = "[Service]\nExecStart=/usr/local/bin/containerd\nLimitNOFILE=infinity\nLimitCORE=infinity\nRestart=always\n"
    name = "etc/systemd/system/containerd.service"
    assert node.patched(unit, node.PATCHES[name], name) == (
        "[Service]\nExecStart=/usr/bin/containerd\nRestart=always\n"
    )
    with pytest.raises(PlatformError, match=r"kind's etc/x has no 'restrict' any more"):
        node.patched("[plugins]\n", [("restrict", "")], "etc/x")


GO = """package nodeimage

const image = "example.com/provisioner:v1"

const manifest = `
image: ` + image + `
args: ["a"]
` + image

const list = []string{image}
"""


def test_a_text_in_kinds_go_source_is_read_with_what_it_is_made_of() -> None:
    assert (
        node.go_text(GO, "manifest") == '\nimage: example.com/provisioner:v1\nargs: ["a"]\nexample.com/provisioner:v1'
    )
    with pytest.raises(PlatformError, match=r"kind's module has no constant gone any more"):
        node.go_text(GO, "gone")


def test_the_container_of_a_build_is_removed_once_its_maker_is_dead(programs: FakePrograms) -> None:
    """A privileged one that nobody uses must not stay; one that is in use must."""
    mine = leftovers.container_name("rehearsal/node-platform:v1.34.4")
    assert mine == f"rehearsal-build-node-platform--{Owner.me()}"
    with subprocess.Popen([shutil.which("sleep") or "sleep", "60"]) as other:
        maker = replace(Owner.me(), process=Identity.of(other.pid))
        other.kill()
    dead, strangers = f"rehearsal-build-node--{maker}", f"rehearsal-build-node--{replace(maker, namespace='1')}"
    programs.put("docker", f'case "$1" in ps) echo {mine}; echo {dead}; echo {strangers};; esac')
    assert leftovers.collect() == [dead]
    assert [call for call in programs.calls() if " rm " in call] == [f"docker rm --force --volumes {dead}"]


def test_without_an_engine_there_is_nothing_to_collect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_programs(tmp_path, monkeypatch, alone=True)
    assert leftovers.collect() == []
