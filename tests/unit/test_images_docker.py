"""Images in Docker: their names and registries, and the file system of an image of binaries."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from harness.images.binaries import write_archive
from harness.images.docker import import_argv, normalised, registry_of
from harness.images.making import LABEL


@pytest.mark.parametrize(
    ("name", "host"),
    [
        ("registry.k8s.io/pause:3.10.1", "registry.k8s.io"),
        ("docker.io/kserve/agent:v0.20.0", "registry-1.docker.io"),
        ("kserve/agent:v0.20.0", "registry-1.docker.io"),
        ("postgres:15", "registry-1.docker.io"),
        ("localhost/x:1", "localhost"),
        ("mirror:5000/x:1", "mirror:5000"),
    ],
)
def test_the_registry_that_is_asked_is_the_one_that_docker_would_pull_from(name: str, host: str) -> None:
    """A probe of another host would decide wrongly between pulling and building."""
    assert registry_of(name) == host


def test_names_are_compared_as_docker_prints_them() -> None:
    """Docker leaves out its own registry; an image must not be made again for that."""
    assert normalised("docker.io/library/postgres:15") == "postgres:15"
    assert normalised("docker.io/kserve/agent:v0.20.0") == "kserve/agent:v0.20.0"
    assert normalised("quay.io/library/x:1") == "quay.io/library/x:1"


def test_an_imported_image_says_what_it_was_made_of() -> None:
    """The label is how the next build knows that nothing has changed."""
    argv = import_argv("a.tar", "x:1", "abc", ["USER 1"])
    assert argv == ["docker", "import", "--change", f"LABEL {LABEL}=abc", "--change", "USER 1", "a.tar", "x:1"]


def test_an_image_of_binaries_has_them_executable_and_a_tmp_for_everybody(tmp_path: Path) -> None:
    """As upstream's images without a shell: a program that is not root can run and write to /tmp."""
    program = tmp_path / "program"
    program.write_bytes(b"ELF")
    write_archive(tmp_path / "image.tar", {"/usr/local/bin/program": program})
    with tarfile.open(tmp_path / "image.tar") as tar:
        entries = {entry.name: entry for entry in tar}
        body = tar.extractfile("usr/local/bin/program")
        assert body is not None
        assert body.read() == b"ELF"
    assert entries["usr/local/bin/program"].mode == 0o755
    assert entries["tmp"].mode == 0o1777
    assert {entry.uid for entry in entries.values()} == {0}
    assert "etc/passwd" in entries
