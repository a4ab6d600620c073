"""The catalogue of images: what comes with Rehearsal is sound, and what is wrong in one is one clear line."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from harness.errors import CapabilityMissing, ConfigError, UsageError
from harness.images.catalogue import Catalogue, load, parse
from harness.images.graph import in_order
from harness.images.kinds import KINDS
from harness.images.making import Commands, Making
from harness.runtime.paths import data_folder

PAUSE = """
[[module]]
name = "pause"
programs = { pause = "." }

[[image]]
name = "registry.k8s.io/pause:3.10.1"
kind = "go"
binaries = { "/pause" = "pause/pause" }
"""


def catalogue(text: str = PAUSE) -> Catalogue:
    return Catalogue(parse(tomllib.loads(text), "catalogue.toml"), Path())


def test_the_catalogue_that_comes_with_rehearsal_loads_and_has_no_circle() -> None:
    """Whatever is added to it is checked by this test first."""
    items = load().items
    assert len(in_order(items, items)) == len(items)


def test_every_module_of_the_catalogue_has_its_wrapper_with_checksums() -> None:
    """A module without a committed go.sum would be built unverified."""
    shipped = load()
    modules = [item for item in shipped.items.values() if item.section == "module"]
    lacking = [
        module.name
        for module in modules
        if not (shipped.folder / "go" / module.name / "go.mod").is_file()
        or ("require" in (shipped.folder / "go" / module.name / "go.mod").read_text())
        != (shipped.folder / "go" / module.name / "go.sum").is_file()
    ]
    assert modules
    assert lacking == []


def test_an_image_that_only_a_registry_has_is_no_part_of_a_build() -> None:
    """`rehearse images build` ends well where no registry answers; asked for by name, it says why it cannot be had."""
    item = load().image("docker.io/grafana/grafana:12.2.0")
    assert (item.upstream, item.wanted) == (True, False)
    making = Making(item, "k", Path(), load(), {}, Path("log"), print, Commands())
    with pytest.raises(CapabilityMissing, match=r"grafana:12\.2\.0 cannot be made here, and registry-1\.docker\.io"):
        KINDS[item.kind].make(making)


def test_no_image_has_a_mutable_tag() -> None:
    """Every image names a version, so that a cluster of next year runs the same."""
    images = [item.name for item in load().items.values() if item.is_image]
    assert images
    assert [name for name in images if ":" not in name.rpartition("/")[2] or name.endswith(":latest")] == []


def test_every_image_that_a_manifest_names_is_in_the_catalogue() -> None:
    """Also those in a program's own configuration, as KServe's agent is: a cluster without a registry has no other."""
    known = {item.name.removeprefix("docker.io/") for item in load().items.values() if item.is_image}
    texts = {path: path.read_text(encoding="utf-8") for path in (data_folder("manifests") / "system").rglob("*.yaml")}
    named = {
        image.removeprefix("docker.io/"): path.name for path, text in texts.items() for image in _IMAGE.findall(text)
    }
    assert len(named) > 5
    assert {image: name for image, name in named.items() if image not in known} == {}


_IMAGE = re.compile(r"""\bimage"?: *"?([\w./-]+:[\w.-]+)""")


def test_an_image_needs_the_modules_of_its_binaries() -> None:
    """The graph follows from the entries: nobody writes it twice."""
    assert catalogue().items["registry.k8s.io/pause:3.10.1"].needs == ("module/pause",)


@pytest.mark.parametrize(
    "name", ["registry.k8s.io/pause:3.10.1", "registry.k8s.io/pause", "pause:3.10.1"], ids=["whole", "no tag", "short"]
)
def test_an_image_is_found_by_its_whole_and_its_short_name(name: str) -> None:
    """What a user types is what `kubectl get pods` shows, or less."""
    assert [item.id for item in catalogue().find(name)] == ["registry.k8s.io/pause:3.10.1"]


def test_a_name_that_several_have_means_all_of_them() -> None:
    """`rehearse images build pause` gets the program and the image."""
    assert {item.id for item in catalogue().find("pause")} == {"module/pause", "registry.k8s.io/pause:3.10.1"}


def test_an_unknown_name_is_one_line_with_the_nearest_names() -> None:
    """A typo costs no look into the documentation."""
    with pytest.raises(UsageError, match=r"no 'puase' in the catalogue; nearest: .*pause.* Hint: rehearse images list"):
        catalogue().find("puase")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("[[module]]", "[[modul]]"), r"\[\[modul\]\]: no such section; known: module, bundle, part, image"),
        (('name = "pause"', ""), r"\[\[module\]\] number 1: name: is missing"),
        (('programs = { pause = "." }', ""), r"\[\[module\]\] pause: programs: is missing"),
        (('programs = { pause = "." }', "programs = 3"), r"programs: expected a table of texts, got 3"),
        (('kind = "go"', 'kind = "rust"'), r"kind: expected one of .*go.*, got 'rust'"),
        (('kind = "go"', 'kind = "go"\ncolour = 1'), r"colour: no such field; known: name, needs, binaries"),
        (('kind = "go"', 'kind = "go"\nuser = -1'), r"user: expected a user id, 0 or more, got -1"),
        (('kind = "go"', 'kind = "go"\nneeds = ["part/x"]'), r"needs part/x, which is not there"),
        (('"pause/pause"', '"pause/sleep"'), r"binaries: /pause: pause has no program 'sleep'; known: pause"),
        (('"pause/pause"', '"etcd/etcd"'), r"needs module/etcd, which is not there"),
    ],
)
def test_a_wrong_entry_is_one_line_with_file_entry_field_and_allowed_values(
    change: tuple[str, str], message: str
) -> None:
    """Nobody has to read our source to correct a catalogue."""
    with pytest.raises(ConfigError, match=f"^catalogue.toml: .*{message}"):
        catalogue(PAUSE.replace(*change))


def test_the_same_name_twice_is_an_error() -> None:
    """The second entry would silently win."""
    with pytest.raises(ConfigError, match=r"\[\[module\]\] pause: is there twice"):
        catalogue(PAUSE + '\n[[module]]\nname = "pause"\nprograms = { pause = "." }\n')


def test_a_catalogue_that_is_not_toml_is_one_line(tmp_path: Path) -> None:
    """The line and column are TOML's own."""
    (tmp_path / "catalogue.toml").write_text("[[image]\n")
    with pytest.raises(ConfigError, match=r"catalogue.toml: not TOML: .*line 1"):
        load(tmp_path)
