"""Images in Docker: which are there, made of what, and whether a registry answers for those that are not."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import httpx

from harness.images import engine
from harness.images.making import LABEL

_PROBE_TIMEOUT_S = 2.0
_REGISTRY_HOSTS = {"docker.io": "registry-1.docker.io"}


@dataclass(frozen=True)
class Present:
    """An image that Docker has: its id, its size in bytes, and the key with which it was made here, if it was."""

    id: str
    size: int
    key: str | None


def present(names: Sequence[str]) -> dict[str, Present]:
    """Those of the images that Docker has, by the names that were asked for."""
    if not names:
        return {}
    listed = engine.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", timeout_s=engine.ASK_TIMEOUT_S)
    here = set(listed.split()) & {normalised(name) for name in names}
    if not here:
        return {}
    documents = json.loads(engine.docker("image", "inspect", *sorted(here), timeout_s=engine.ASK_TIMEOUT_S))
    by_tag = {normalised(tag): _read(document) for document in documents for tag in document["RepoTags"] or ()}
    return {name: by_tag[normalised(name)] for name in names if normalised(name) in by_tag}


def normalised(name: str) -> str:
    """An image's name as Docker prints it: without docker.io/ and library/."""
    return name.removeprefix("docker.io/").removeprefix("library/")


def registry_of(name: str) -> str:
    """The host that an image is pulled from."""
    first, slash, _ = name.partition("/")
    host = first if slash and ("." in first or ":" in first or first == "localhost") else "docker.io"
    return _REGISTRY_HOSTS.get(host, host)


def answering(hosts: Iterable[str]) -> set[str]:
    """Those registries that answer within seconds; any HTTP answer counts."""
    executor = ThreadPoolExecutor()
    asked = {executor.submit(_answers, host): host for host in set(hosts)}
    done, _ = wait(asked, timeout=_PROBE_TIMEOUT_S + 1)  # a name server that hangs knows nothing of httpx's timeout
    executor.shutdown(wait=False)
    return {asked[future] for future in done if future.result()}


def import_argv(archive: str, name: str, key: str, changes: Iterable[str]) -> list[str]:
    """The command that makes an image of a tar file, with the label that names its key."""
    argv = ["docker", "import", "--change", f"LABEL {LABEL}={key}"]
    for change in changes:
        argv += ["--change", change]
    return [*argv, archive, name]


def _answers(host: str) -> bool:
    try:
        httpx.get(f"https://{host}/v2/", timeout=_PROBE_TIMEOUT_S)
    except httpx.TransportError:
        return False
    return True


def _read(document: Mapping[str, Any]) -> Present:
    labels = (document.get("Config") or {}).get("Labels") or {}
    return Present(document["Id"], document["Size"], labels.get(LABEL))
