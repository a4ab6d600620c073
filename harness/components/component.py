"""A component's recipe: data that says what to start and how to tell that it is ready; a backend gives it life."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_PLACEHOLDER = re.compile(r"\{(?:port\[(?P<port>\w+)\]|(?P<word>folder|host))\}")
LOOPBACK, EVERY_INTERFACE = "127.0.0.1", "0.0.0.0"


@dataclass(frozen=True)
class Ready:
    """How to tell that a component serves: HTTP 200 from `path` on the port named `port`.

    What speaks no HTTP has a `command` instead: run inside of its container, it ends with exit code 0.
    """

    port: str
    path: str = ""
    command: tuple[str, ...] = ()


@dataclass(frozen=True)
class Restart:
    """What to do when the component dies: start it again on the same ports, at most `at_most` times in a row.

    0: report it. One that has lived for seconds starts the count anew.
    """

    at_most: int = 0


NEVER = Restart(0)


@dataclass(frozen=True)
class Limits:
    """What a container may use at most: memory in MiB (more, and the kernel kills it), and CPUs."""

    memory_mib: int = 512
    cpus: float = 1.0


@dataclass(frozen=True)
class Component:
    """What to start. `argv`, `env`, `files` and `config` are templates with {folder}, {host} and {port[<name>]}.

    `files` are written below {folder} before the start. `warm` is the "module:function" that a fork from the nursery
    runs with `config` instead of exec'ing `argv`. A recipe with an `image` is a container's: `argv` is what the image's
    own program is told, and a container has its ports for itself, so `inside` says their numbers;
    `scratch` are folders in it, besides /tmp, that it writes and that are kept in memory. `user` ("uid:gid") is for an
    image whose program starts as root and steps down by itself, which takes capabilities that no container here has.
    `scraped` names the port whose /metrics Prometheus reads.
    """

    name: str
    version: str
    argv: tuple[str, ...]
    ready: Ready
    ports: tuple[str, ...] = ("http",)
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    private: frozenset[str] = frozenset()
    image: str = ""
    inside: Mapping[str, int] = field(default_factory=dict)
    limits: Limits = Limits()
    scratch: tuple[str, ...] = ()
    user: str = ""
    warm: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    restart: Restart = NEVER
    scraped: str = ""


def fill(template: Any, *, folder: Path, ports: Mapping[str, int], host: str = LOOPBACK) -> Any:
    """The template with its placeholders replaced, in strings, lists and mappings; other braces stay as they are.

    `host` is what a server binds: the loopback, or inside of a container every interface.
    """
    words = {"folder": str(folder), "host": host}

    def filled(value: Any) -> Any:
        if isinstance(value, str):
            return _PLACEHOLDER.sub(lambda found: words.get(found["word"]) or str(ports[found["port"]]), value)
        if isinstance(value, Mapping):
            return {key: filled(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [filled(each) for each in value]
        return value

    return filled(template)


def tag_of(image: str) -> str:
    """The version that an image's name ends with: "v2.42.0" of quay.io/prometheus/prometheus:v2.42.0."""
    return image.rpartition(":")[2]
