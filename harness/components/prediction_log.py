"""The collector of the prediction log, as a process or a container; see harness.prediction_log."""

from __future__ import annotations

import sys

from harness import __version__
from harness.components.component import Component, Limits, Ready, Restart, tag_of

NAME = "prediction-log"
IMAGE = f"rehearsal/collector:{__version__}"
PORT = 8080
LOG = "log"
"""Below the component's folder."""


def prediction_log(*, image: str = "") -> Component:
    """The recipe: port "http". It may die as often as it likes: what it acknowledged is on disk."""
    python = "python" if image else sys.executable
    return Component(
        name=NAME,
        version=tag_of(image) or __version__,
        argv=(
            python, "-P", "-m", "harness.prediction_log.server",
            f"--folder={{folder}}/{LOG}", "--host={host}", "--port={port[http]}",
        ),
        image=image,
        inside={"http": PORT},
        limits=Limits(memory_mib=512),
        ready=Ready(port="http", path="/health"),
        restart=Restart(at_most=5),
        scraped="http",
    )  # fmt: skip
