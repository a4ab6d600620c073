"""What is installed for serving: images of this very version, and nothing that restricted Pod Security would refuse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "manifests/system/serving"


def containers(value: Any) -> Iterator[dict[str, Any]]:
    """Every container anywhere in a document."""
    if isinstance(value, dict):
        if "image" in value:
            yield value
        for inner in value.values():
            yield from containers(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from containers(inner)


FOUND = [
    container
    for path in sorted(FOLDER.glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
    for container in containers(document)
]


@pytest.mark.parametrize("container", FOUND, ids=lambda found: found["name"])
def test_a_container_runs_our_version_and_as_nobody(container: dict[str, Any]) -> None:
    """No mutable tag, no root, no way up, nothing written but what is mounted, limits for quotas."""
    name, _, tag = container["image"].partition(":")
    assert name.startswith("rehearsal/")
    assert tag == "{version}", "the installer puts the version of the harness here"
    security = container["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert set(container["resources"]) == {"requests", "limits"}


def test_there_are_the_server_the_initializer_and_the_collector() -> None:
    """The check above has something to check."""
    assert sorted(found["name"] for found in FOUND) == ["collector", "kserve-container", "storage-initializer"]
