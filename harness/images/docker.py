"""Images in Docker: which are there, made of what, and whether a registry answers for those that are not."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Thread
from typing import Any

import httpx

from harness.images import engine
from harness.images.making import LABEL
from harness.runtime.clock import Deadline

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
    answers: set[str] = set()
    asking = [Thread(target=_ask, args=(host, answers), daemon=True) for host in set(hosts)]
    deadline = Deadline.after(_PROBE_TIMEOUT_S + 1)  # a name server that hangs knows nothing of httpx's timeout
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(deadline.remaining_s())
    return set(answers)


def import_argv(archive: str, name: str, key: str, changes: Iterable[str]) -> list[str]:
    """The command that makes an image of a tar file, with the label that names its key."""
    argv = ["docker", "import", "--change", f"LABEL {LABEL}={key}"]
    for change in changes:
        argv += ["--change", change]
    return [*argv, archive, name]


def _ask(host: str, answers: set[str]) -> None:
    schemes = ("https", "http") if _on_loopback(host) else ("https",)  # as Docker itself does
    for scheme in schemes:
        with contextlib.suppress(httpx.TransportError):
            httpx.get(f"{scheme}://{host}/v2/", timeout=_PROBE_TIMEOUT_S)
            answers.add(host)
            return


def _on_loopback(host: str) -> bool:
    name = host.rpartition(":")[0] or host
    return name == "localhost" or name.startswith("127.")


def _read(document: Mapping[str, Any]) -> Present:
    labels = (document.get("Config") or {}).get("Labels") or {}
    return Present(document["Id"], document["Size"], labels.get(LABEL))
