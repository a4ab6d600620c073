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


def as_flags(options: WorldOptions) -> list[str]:
    """The flags that say the same as the options."""
    argv = ["--backend", options.backend]
    if options.context:
        argv += ["--context", options.context]
    if options.kubeconfig:
        argv += ["--kubeconfig", str(options.kubeconfig)]
    if options.namespaces:
        argv += ["--namespaces", ",".join(f"{name}={where}" for name, where in options.namespaces.items())]
    if options.image_prefix:
        argv += ["--image-prefix", options.image_prefix]
    switches = {"--install": options.install, "--keep": options.keep, "--reuse": options.reuse}
    switches["--allow-remote"] = options.allow_remote
    return argv + [flag for flag, given in switches.items() if given]
