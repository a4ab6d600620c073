"""Who may do what: one matrix, role x verb x resource. Pure.

MLflow's grants and its guard, the gateway's keys and the repository's hook come from it, and so does what the roles may
change in a cluster (harness.backends.kubernetes.access), with the manifests.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

ROLES = ("data-scientist", "ml-engineer", "release", "viewer")
STAGES = ("staging", "production")
ALIASES = {"staging": "staging", "champion": "production"}
"""Alias of the registry -> the environment that serves it."""


@dataclass(frozen=True)
class Right:
    """One verb on one resource, and the roles that may."""

    resource: str
    verb: str
    roles: frozenset[str]
    what_for: str


@dataclass(frozen=True)
class Cell:
    """One cell of the matrix."""

    role: str
    verb: str
    resource: str
    allowed: bool


def _of(resource: str, verb: str, roles: str, what_for: str) -> Right:
    chosen = ROLES if roles == "all" else tuple(roles.split())
    return Right(resource, verb, frozenset(chosen), what_for)


_MAKERS = "data-scientist ml-engineer"
MATRIX = (
    _of("experiments", "read", "all", "metrics and parameters are no secret within the team"),
    _of("experiments", "log a run", _MAKERS, "who trains writes down what was trained"),
    _of("experiments", "delete a run", "", "what was promoted must be traced to its training"),
    _of("registered models", "read", "all", "which version serves is no secret within the team"),
    _of("registered models", "register a version", _MAKERS, "a version comes out of a training"),
    _of("registered models", "delete a version", "", "what served once can be served again"),
    _of("registered models", "change a version's files", "", "a version is what the gate judged, or nothing"),
    _of("alias staging", "move", "ml-engineer release", "what staging serves"),
    _of("alias champion", "move", "release", "what production serves"),
    _of("desired state of training and data", "commit", f"{_MAKERS} release", "a push is trained"),
    _of("desired state of staging", "commit", "ml-engineer release", "what staging shall serve"),
    _of("desired state of production", "commit", "release", "what production shall serve"),
    _of("users", "create", "", "roles are given by who runs the platform"),
    _of("staging predictions", "ask", "data-scientist ml-engineer release", "staging is for who makes the models"),
    _of("production predictions", "ask", "release", "patients' data: applications have keys of their own"),
)


def cells() -> Iterator[Cell]:
    """Every cell."""
    for right in MATRIX:
        for role in ROLES:
            yield Cell(role, right.verb, right.resource, role in right.roles)


def allowed(role: str, verb: str, resource: str) -> bool:
    """Whether a role may; nobody may what the matrix has not."""
    return any(role in right.roles for right in MATRIX if (right.verb, right.resource) == (verb, resource))


def askers(environment: str) -> tuple[str, ...]:
    """The roles that may ask for an environment's predictions."""
    return tuple(role for role in ROLES if allowed(role, "ask", f"{environment} predictions"))


def reference() -> str:
    """The matrix as a table of Markdown, for docs/security.md."""
    head = f"| resource | verb | {' | '.join(ROLES)} | why |\n|---|---|{'---|' * len(ROLES)}---|"
    rows = [
        f"| {right.resource} | {right.verb} | "
        + " | ".join("yes" if role in right.roles else "–" for role in ROLES)
        + f" | {right.what_for} |"
        for right in MATRIX
    ]
    return "\n".join([head, *rows])
