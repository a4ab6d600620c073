"""`rehearse images list`: what is here of the catalogue, for a person and for a script, with and without Docker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import images
from harness.cli import run_command
from harness.images.making import LABEL
from tests.unit.fake_programs import FakePrograms, fake_programs

PAUSE = "registry.k8s.io/pause:3.10.1"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePrograms:
    """No program of this machine but Docker's stand-in, if a test puts one there; an empty cache."""
    monkeypatch.setenv("REHEARSAL_CACHE", str(tmp_path / "cache"))
    return fake_programs(tmp_path, monkeypatch)


def docker_with(programs: FakePrograms, key: str | None) -> None:
    """A Docker whose one image is PAUSE, made with this key, or pulled."""
    labels = None if key is None else {LABEL: key}
    image = [{"Id": "1", "Size": 700_000, "RepoTags": [PAUSE], "Config": {"Labels": labels}}]
    programs.put("docker", f"case \"$2\" in ls) echo {PAUSE};; inspect) echo '{json.dumps(image)}';; esac")


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, dict[str, object]]:
    assert run_command(["images", "list", "--json", *arguments]) == 0
    return {each["name"]: each for each in json.loads(capsys.readouterr().out)}


def test_the_whole_catalogue_is_listed_with_how_each_is_had(
    programs: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    docker_with(programs, None)
    found = listed(capsys)
    assert list(found) == list(images.load().items)
    assert (found[PAUSE]["how"], found[PAUSE]["bytes"], found[PAUSE]["section"]) == ("pulled", 700_000, "image")
    assert {each["how"] for name, each in found.items() if name != PAUSE} == {"missing"}


def test_an_image_counts_only_if_it_was_made_of_what_is_here_now(
    programs: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of another checkout, or of before a change, is missing."""
    docker_with(programs, "of-before")
    old = listed(capsys, PAUSE)[PAUSE]
    assert old["how"] == "missing"
    docker_with(programs, str(old["key"]))
    assert listed(capsys, "pause")[PAUSE]["how"] == "built"


def test_the_table_has_a_line_for_each_in_columns(programs: FakePrograms, capsys: pytest.CaptureFixture[str]) -> None:
    docker_with(programs, None)
    assert run_command(["images", "list", PAUSE, "bundle/kserve"]) == 0
    head, pause, bundle = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "how", "size", "seconds", "key"]
    assert pause.split()[:4] == [PAUSE, "pulled", "0.7", "MB"]
    assert bundle.split()[:2] == ["bundle/kserve", "missing"]


def test_without_docker_the_rest_is_still_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With one line on what is missing."""
    monkeypatch.setenv("REHEARSAL_CACHE", str(tmp_path / "cache"))
    fake_programs(tmp_path, monkeypatch, alone=True)
    assert run_command(["images", "list", "--json"]) == 0
    shown = capsys.readouterr()
    assert len(json.loads(shown.out)) == len(images.load().items)
    [line] = shown.err.splitlines()
    assert line.startswith("rehearse: Docker is not here: no `docker` on PATH. Hint: ")


def test_a_name_that_is_not_in_the_catalogue_is_told_with_the_nearest(
    programs: FakePrograms, capsys: pytest.CaptureFixture[str]
) -> None:
    docker_with(programs, None)
    assert run_command(["images", "list", "module/kservee"]) == 2
    assert capsys.readouterr().err.startswith(
        "rehearse: images: no 'module/kservee' in the catalogue; nearest: module/kserve"
    )
