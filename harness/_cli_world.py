"""The flags that say which world a command runs in, and what is made of them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from harness.errors import ConfigError

Backend = Annotated[
    str | None, typer.Option("--backend", metavar="BACKEND", help="Where: embedded, containers, kind or kubernetes.")
]
Context = Annotated[
    str | None, typer.Option("--context", metavar="NAME", help="Context of the kubeconfig (kubernetes).")
]
Kubeconfig = Annotated[
    str | None, typer.Option("--kubeconfig", metavar="FILE", help="KUBECONFIG or ~/.kube/config if not given.")
]
Namespaces = Annotated[
    str | None,
    typer.Option("--namespaces", metavar="A=B,...", help="Namespaces to work in: production=team-a (kubernetes)."),
]
Install = Annotated[bool, typer.Option("--install", help="Install what the cluster lacks, cluster-wide (kubernetes).")]
Keep = Annotated[
    bool, typer.Option("--keep", help="Leave the cluster (kind) or the database server (containers) running.")
]
Reuse = Annotated[bool, typer.Option("--reuse", help="Take the one that was kept, and keep it (kind, containers).")]
AllowRemote = Annotated[bool, typer.Option("--allow-remote", help="Let load leave this machine (kubernetes).")]
ImagePrefix = Annotated[
    str | None,
    typer.Option("--image-prefix", metavar="PREFIX", help="The registry that has our images (kubernetes)."),
]


def flags(
    backend: str | None,
    context: str | None,
    kubeconfig: str | None,
    namespaces: str | None,
    *,
    install: bool,
    keep: bool,
    reuse: bool,
    allow_remote: bool,
    image_prefix: str | None,
) -> dict[str, Any]:
    """The flags that were given, for the settings; None for the others."""
    return {
        "--backend": backend,
        "--context": context,
        "--kubeconfig": kubeconfig,
        "--namespaces": pairs_of(namespaces),
        "--install": install or None,
        "--keep": keep or None,
        "--reuse": reuse or None,
        "--allow-remote": allow_remote or None,
        "--image-prefix": image_prefix,
    }


def pairs_of(namespaces: str | None) -> dict[str, str] | None:
    """NAME=NAMESPACE,... as a mapping."""
    return dict(pair_of(text) for text in namespaces.split(",")) if namespaces else None


def pair_of(text: str) -> tuple[str, str]:
    """The halves of NAME=NAMESPACE."""
    logical, equals, physical = text.partition("=")
    if not (logical and equals and physical):
        raise ConfigError(f"--namespaces: expected NAME=NAMESPACE,... such as production=team-a, got {text!r}")
    return logical, physical
