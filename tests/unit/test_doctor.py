"""`rehearse doctor`: what is missing, and how to get it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import images
from harness.components import alertmanager, collector, gateway, mlflow, model_server, postgres, prometheus
from harness.containers import pipeline
from harness.doctor import NEEDS, Need, debian, examine, package, table, usable
from harness.errors import CapabilityMissing
from harness.programs import Program
from tests.unit.fake_programs import fake_programs


def need(what: str, found: str | None, *, optional: bool = False) -> Need:
    return Need("embedded", what, "the test", lambda: found, f"install {what}", optional)


def test_a_backend_is_usable_when_all_that_is_not_optional_is_here() -> None:
    """Prometheus may be missing: its steps are skipped. Envoy may not."""
    assert usable(examine([need("Envoy", "1.40"), need("Prometheus", None, optional=True)]), "embedded")
    assert not usable(examine([need("Envoy", None), need("Prometheus", "2.42", optional=True)]), "embedded")


def test_what_is_missing_is_shown_with_how_to_get_it() -> None:
    """One row is enough to act on."""
    text = table(examine([need("Envoy", None), need("MLflow", "3.17.2")]))
    assert "embedded: not usable yet" in text
    assert "missing  Envoy           for the test. Hint: install Envoy" in text
    assert "ok       MLflow          3.17.2" in text


def test_a_program_counts_only_if_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A docker client without an engine is not Docker."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    tool = tmp_path / "some-tool"
    tool.write_text('#!/bin/sh\necho "some-tool, version 2.42.0+ds (branch: x)"\n')
    tool.chmod(0o755)
    need = debian("Tool", "the test", Program("some-tool", "tools", "usr/bin/some-tool", "1.0"))
    assert need.probe() == "2.42.0+ds"
    tool.write_text("#!/bin/sh\nexit 1\n")
    assert need.probe() is None
    tool.unlink()
    assert need.probe() is None
    assert need.how == "apt-get install tools, or put a some-tool binary (1.0 or newer) on PATH"


def test_a_package_is_found_by_its_version() -> None:
    """Without importing it."""
    assert package("pytest")() == pytest.__version__
    assert package("no-such-package")() is None


def test_every_need_says_how_to_get_it() -> None:
    """Doctor never leaves a user without a next step."""
    assert {each.backend for each in NEEDS} == {"embedded", "containers", "kind", "kubernetes"}
    for each in NEEDS:
        assert each.how
        assert each.why


def test_what_a_probe_says_better_is_told_in_its_words() -> None:
    """An engine that refuses is not one that is missing."""

    def refused() -> str:
        raise CapabilityMissing("No permission to use Docker's socket.", hint="run as root")

    [found] = examine([Need("embedded", "Docker", "the test", refused, "install it")])
    assert (found.found, found.how) == (None, "run as root")
    assert "missing  Docker          No permission to use Docker's socket. Hint: run as root" in table([found])


def test_kind_is_usable_only_with_an_engine_that_may_run_its_node_and_with_its_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`docker version` answers here; that says nothing of privileges."""
    monkeypatch.setenv("REHEARSAL_CACHE", str(tmp_path / "cache"))
    programs = fake_programs(tmp_path, monkeypatch)
    programs.put("docker", """case "$1" in info) echo '{"ServerVersion": "28.5.1"}';; version) echo 28.5.1;; esac""")
    found = {finding.what: finding for finding in examine() if finding.backend == "kind"}
    assert not usable(found.values(), "kind")
    assert found["Docker"].why.startswith("Docker cannot start a privileged container: ")
    assert found["images"].how.startswith("rehearse images build")
    containers = {finding.what: finding for finding in examine() if finding.backend == "containers"}
    assert containers["Docker"].found == "28.5.1 (cgroup v1, 0 GiB memory)"
    assert not usable(containers.values(), "containers"), "an engine without the images starts nothing"
    assert containers["images"].how.startswith("rehearse images build docker.io/library/postgres:15 ghcr.io/mlflow/")


def test_the_images_that_doctor_asks_for_are_those_that_the_containers_world_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And the world itself asks for the same before it starts."""
    monkeypatch.setattr(images, "require", lambda names: None)
    components = (postgres, mlflow, gateway, prometheus, alertmanager, model_server, collector, pipeline)
    assert set(images.container_images()) == {component.IMAGE for component in components}
    needs = {need.what: need for need in NEEDS if need.backend == "containers"}
    assert needs["images"].probe() == "all 8"
