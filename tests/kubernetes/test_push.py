"""`rehearse images push`: what a cluster of one's own needs comes into its registry by Docker's own push."""

from __future__ import annotations

import pytest

from harness import images
from harness.cli import run_command
from harness.images.engine import docker, succeeds
from tests.kubernetes.small_registry import serving

PAUSE = "registry.k8s.io/pause:3.10.1"


def test_an_image_is_pushed_under_the_prefix_and_can_be_pulled(capsys: pytest.CaptureFixture[str]) -> None:
    """With its tag and without the registry that it comes from; what is pulled is the same image."""
    images.require([PAUSE])
    ours = docker("image", "inspect", "--format", "{{.Id}}", PAUSE)
    with serving() as registry:
        there = f"{registry.address}/ml/pause:3.10.1"
        try:
            assert run_command(["images", "push", f"{registry.address}/ml", "pause"]) == 0
            assert capsys.readouterr().out.split() == [there]
            assert "ml/pause:3.10.1" in registry.manifests
            docker("image", "rm", there)
            docker("pull", there)
            assert docker("image", "inspect", "--format", "{{.Id}}", there) == ours
        finally:
            succeeds("image", "rm", there)


def test_a_registry_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """With the way to sign in, which is what it mostly is."""
    images.require([PAUSE])
    with serving() as registry:
        address = registry.address
    try:
        assert run_command(["images", "push", f"{address}/ml", "pause"]) == 1
    finally:
        succeeds("image", "rm", f"{address}/ml/pause:3.10.1")
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("rehearse: ")]
    assert len(told) == 1
    assert f"docker login {address}" in told[0]


def test_a_wrong_prefix_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Before Docker is asked."""
    assert run_command(["images", "push", "https://registry.example"]) == 2
    assert "expected a registry and perhaps a path" in capsys.readouterr().err
