"""Alertmanager: groups the alerts of Prometheus and passes them to a webhook, or keeps them for whoever asks.

The binary is Debian's package or one that was put on PATH or into the cache; no Python wheel carries it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.components.component import Component, Limits, Ready, Restart, tag_of
from harness.programs import ALERTMANAGER, required
from harness.runtime.probe import program_version

IMAGE = "quay.io/prometheus/alertmanager:v0.25.0"
NOBODY = "nobody"
RECEIVER = "rehearsal"


@dataclass(frozen=True)
class Webhook:
    """Where alerts are sent to, and the file with the secret that says who sends them (as a bearer token)."""

    url: str
    secret_file: Path


def alertmanager(webhook: Webhook | None = None, *, image: str = "") -> Component:
    """The recipe: port "http". Without a webhook it keeps the alerts for whoever asks at /api/v2/alerts."""
    binary = None if image else required(ALERTMANAGER, "alerts")
    # Debian's reads its templates in the folder that it is started in, once it is out of its package.
    started = () if binary is None else ("env", f"--chdir={binary.parent}", str(binary))
    return Component(
        name="alertmanager",
        version=tag_of(image) if binary is None else program_version(binary, "--version") or "unknown",
        argv=(
            *started, "--config.file={folder}/alertmanager.yml", "--storage.path={folder}/data",
            "--web.listen-address={host}:{port[http]}", "--cluster.listen-address=", "--log.level=warn",
        ),
        image=image,
        inside={"http": 9093},
        limits=Limits(memory_mib=128),
        ready=Ready(port="http", path="/-/ready"),
        files={"alertmanager.yml": yaml.safe_dump(routing(webhook), sort_keys=False)},
        restart=Restart(at_most=3),
    )  # fmt: skip


def routing(webhook: Webhook | None = None) -> dict[str, Any]:
    """Alertmanager's configuration: one group for each alert and service, told soon and told again when it ends."""
    receivers: list[dict[str, Any]] = [{"name": NOBODY}]
    if webhook is not None:
        authorization = {"type": "Bearer", "credentials_file": str(webhook.secret_file)}
        hook = {"url": webhook.url, "send_resolved": True, "http_config": {"authorization": authorization}}
        receivers = [{"name": RECEIVER, "webhook_configs": [hook]}]
    route = {
        "receiver": receivers[0]["name"],
        "group_by": ["alertname", "namespace", "service"],
        "group_wait": "0s" if webhook else "1s",
        "group_interval": "1s" if webhook else "5s",
        "repeat_interval": "1h",
    }
    return {"route": route, "receivers": receivers}
