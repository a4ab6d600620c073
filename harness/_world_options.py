"""From the settings to the options of a world."""

from __future__ import annotations

from pathlib import Path

from harness.backends.kubernetes.world import WorldOptions
from harness.backends.node import NodeOptions
from harness.backends.session import check
from harness.config import Settings


def world_options(settings: Settings) -> WorldOptions:
    """The world that the settings name; ConfigError for what makes no sense together."""
    cluster = settings.cluster
    options = WorldOptions(
        backend=settings.run.backend,
        context=cluster.context,
        kubeconfig=Path(cluster.kubeconfig) if cluster.kubeconfig else None,
        namespaces=cluster.namespaces,
        install=cluster.install,
        reuse=cluster.reuse,
        keep=cluster.keep,
        allow_remote=cluster.allow_remote,
        node=NodeOptions(**settings.node.model_dump()),
        image_prefix=cluster.image_prefix or "",
    )
    check(options)
    return options
