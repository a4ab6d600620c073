"""A component's recipe: data that says what to start and how to tell that it is ready; a backend gives it life."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_PLACEHOLDER = re.compile(r"\{(?:port\[(?P<port>\w+)\]|(?P<folder>folder))\}")


@dataclass(frozen=True)
class Ready:
    """How to tell that a component serves: HTTP 200 from `path` on the port named `port`."""

    port: str
    path: str


@dataclass(frozen=True)
class Restart:
    """What to do when the component dies: start it again on the same ports, at most `at_most` times in a row.

    0: report it. One that has lived for seconds starts the count anew.
    """

    at_most: int = 0


NEVER = Restart(0)


@dataclass(frozen=True)
class Component:
    """What to start. `argv`, `env`, `files` and `config` are templates with {folder} and {port[<name>]}.

    `files` are written below {folder} before the start. `warm` is the "module:function" that a fork from the nursery
    runs with `config` instead of exec'ing `argv`; `image` is what a container backend runs.
    """

    name: str
    version: str
    argv: tuple[str, ...]
    ready: Ready
    ports: tuple[str, ...] = ("http",)
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    image: str = ""
    warm: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    restart: Restart = NEVER


def fill(template: Any, *, folder: Path, ports: Mapping[str, int]) -> Any:
    """The template with its placeholders replaced, in strings, lists and mappings; other braces stay as they are."""
    if isinstance(template, str):
        return _PLACEHOLDER.sub(lambda found: str(folder) if found["folder"] else str(ports[found["port"]]), template)
    if isinstance(template, Mapping):
        return {key: fill(value, folder=folder, ports=ports) for key, value in template.items()}
    if isinstance(template, list | tuple):
        return [fill(value, folder=folder, ports=ports) for value in template]
    return template
