"""The drift exporter: judges windows of the prediction log and tells Prometheus; see harness.prediction_log.monitor."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from harness import __version__
from harness.components.component import Component, Limits, Ready, Restart, tag_of

NAME = "drift-exporter"
PORT = 8080
CONFIG, OUT = "drift.json", "verdicts"
"""Below the component's folder."""


def drift_exporter(config: Mapping[str, Any], *, image: str = "") -> Component:
    """The recipe: port "http" has /metrics; `config` is what the monitor reads, and reads again when it changes."""
    python = "python" if image else sys.executable
    return Component(
        name=NAME,
        version=tag_of(image) or __version__,
        argv=(
            python, "-P", "-m", "harness.prediction_log.monitor",
            f"--config={{folder}}/{CONFIG}", "--host={host}", "--port={port[http]}",
        ),
        image=image,
        inside={"http": PORT},
        limits=Limits(memory_mib=1024),
        ready=Ready(port="http", path="/metrics"),
        files={CONFIG: json.dumps({**config, "out": f"{{folder}}/{OUT}"})},
        restart=Restart(at_most=5),
        scraped="http",
    )  # fmt: skip
