"""Feast's feature server over a feature repository: its definitions applied, its sources materialised, then served.

Feast cannot share our environment, so it is a container, or a process of an environment of its own. In a container one
process does all three: each command of Feast takes seconds to import it.
"""

from __future__ import annotations

from pathlib import Path

from harness.components.component import Component, Limits, Ready, Restart, tag_of

IMAGE = "quay.io/feastdev/feature-server:0.67.0"
REPOSITORY = "repository"
"""The folder, below the component's own, that the repository is copied to: Feast writes its registry there."""
_COMMANDS = """
import sys
from feast.cli.cli import cli
repository, until, host, port = sys.argv[1:]
commands = [["apply"], ["materialize-incremental", until]] if until else [["apply"]]
for command in [*commands, ["serve", "--host", host, "--port", port, "--no-access-log"]]:
    cli(["--chdir", repository, *command], standalone_mode=False)
"""


_SERVE = """
import sys
from feast.cli.cli import cli
repository, host, port = sys.argv[1:]
cli(["--chdir", repository, "serve", "--host", host, "--port", port, "--no-access-log"], standalone_mode=False)
"""
NAME = "feast"


def feature_server(python: Path, repository: Path) -> Component:
    """The recipe of its process, by a Python that has Feast, over a repository that is applied: port "http"."""
    return Component(
        name=NAME,
        version=tag_of(IMAGE),
        argv=(str(python), "-c", _SERVE, str(repository), "{host}", "{port[http]}"),
        env={"FEAST_USAGE": "False"},
        ready=Ready(port="http", path="/health"),
        restart=Restart(at_most=3),
    )


def feast(*, until: str = "", image: str = IMAGE) -> Component:
    """The recipe of its container: port "http". Features up to `until` (an ISO time in UTC) are made available."""
    return Component(
        name=NAME,
        version=tag_of(image),
        argv=("python", "-c", _COMMANDS, f"{{folder}}/{REPOSITORY}", until, "{host}", "{port[http]}"),
        env={"HOME": "/tmp"},
        image=image,
        inside={"http": 6566},
        limits=Limits(memory_mib=1024),
        ready=Ready(port="http", path="/health"),
        restart=Restart(at_most=3),
    )
