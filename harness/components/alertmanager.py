"""Alertmanager: keeps the alerts for whoever asks at its API; it notifies nobody."""

from __future__ import annotations

import yaml

from harness.components.component import Component, Limits, Ready, Restart, tag_of

IMAGE = "quay.io/prometheus/alertmanager:v0.25.0"
_CONFIG = {
    "route": {
        "receiver": "nobody",
        "group_by": ["alertname", "namespace", "service"],
        "group_wait": "1s",
        "group_interval": "5s",
    },
    "receivers": [{"name": "nobody"}],
}


def alertmanager(image: str = IMAGE) -> Component:
    """The recipe of its container: port "http"."""
    return Component(
        name="alertmanager",
        version=tag_of(image),
        argv=(
            "--config.file={folder}/alertmanager.yml",
            "--storage.path={folder}/data",
            "--web.listen-address={host}:{port[http]}",
            "--cluster.listen-address=",
            "--log.level=warn",
        ),
        image=image,
        inside={"http": 9093},
        limits=Limits(memory_mib=128),
        ready=Ready(port="http", path="/-/ready"),
        files={"alertmanager.yml": yaml.safe_dump(_CONFIG, sort_keys=False)},
        restart=Restart(at_most=3),
    )
